"""Server-sent events as the client reads them: one message after another, across connections that break off."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from prolu.client.errors import ConnectionFailed
from prolu.client.http import Http, Params

_PAUSE_SECONDS = 1.0
_END = "end"
_LINE_END = re.compile(rb"\r\n|\n|\r")


@dataclass(frozen=True)
class Message:
    """One message: what it is, and its JSON."""

    id: str | None
    kind: str
    data: str


def follow(http: Http, path: str, params: Params, *, sleep: Callable[[float], None]) -> Iterator[Message]:
    """Yield every message of a stream, once each, until one says that it is the end; come back whenever it breaks off.

    Raises ConnectionFailed if the service cannot be reached any more, and what a request raises.
    """
    last_id: str | None = None
    while True:
        headers = {"Accept": "text/event-stream"} | ({} if last_id is None else {"Last-Event-ID": last_id})
        reached = False
        try:
            with http.patiently(), http.stream(path, params, headers=headers) as response:
                reached = True
                for message in _messages(_lines(response.iter_bytes())):
                    last_id = message.id or last_id
                    if message.kind == _END:
                        return
                    yield message
        except ConnectionFailed:
            if not reached:
                raise
        sleep(_PAUSE_SECONDS)


def _lines(pieces: Iterable[bytes]) -> Iterator[str]:
    """Lines that end in CR LF, LF or CR and in nothing else, wherever the pieces break; httpx would end them at U+2028, too.

    Source: the HTML standard, section 9.2.6. What follows the last end of a line is dropped, as the standard says.
    """
    rest, after_cr = b"", False
    for piece in pieces:
        if not piece:
            continue
        if after_cr and piece.startswith(b"\n"):
            piece = piece[1:]
        after_cr = piece.endswith(b"\r")
        *whole, rest = _LINE_END.split(rest + piece)
        for line in whole:
            yield line.decode(errors="replace")


def _messages(lines: Iterable[str]) -> Iterator[Message]:
    """Put lines together as the protocol says: fields until an empty line; what begins with a colon is no message."""
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        else:
            if "data" in fields:
                yield Message(fields.get("id"), fields.get("event", "message"), fields["data"])
            fields = {}
