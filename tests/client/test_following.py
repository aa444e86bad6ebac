"""Server-sent events, however the network cuts them."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from prolu.client.following import Message, follow
from prolu.client.http import Http
from prolu.client.locate import Place

TEXT = "one\u2028two\u2029three\u0085four\u000bfive"


class Pieces(httpx.SyncByteStream):
    def __init__(self, text: bytes, size: int) -> None:
        self._pieces = [text[at : at + size] for at in range(0, len(text), size)]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._pieces)


def messages(text: str, size: int) -> list[Message]:
    stream = httpx.MockTransport(
        lambda _: httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=Pieces(text.encode(), size))
    )
    http = Http(Place("http://service", None, "PROLU_URL"), transport=stream)
    try:
        return list(follow(http, "/stream", {}, sleep=lambda _: None))
    finally:
        http.close()


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 10_000])
def test_a_line_ends_where_the_standard_ends_it_and_nowhere_else_however_the_pieces_break(end: str, size: int) -> None:
    lines = [
        "id: 1",
        f"data: {TEXT}",
        "",
        ": alive",
        "id: 2",
        "event: ended",
        "data: é",
        "",
        "event: end",
        "data: {}",
        "",
        "",
    ]
    assert messages(end.join(lines), size) == [Message("1", "message", TEXT), Message("2", "ended", "é")]
