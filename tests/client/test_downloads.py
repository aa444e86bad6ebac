"""A download that breaks goes on where it stopped, within a call and in the next one, and only in the same file."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import httpx
import pytest

from prolu.client.downloads import fetch, only_here
from prolu.client.errors import ConnectionFailed, DownloadFailed
from prolu.client.http import Http
from prolu.client.locate import Place
from prolu.spec.report import CheckpointFile
from service.domain.ranges import span_asked_for

CONTENT = bytes(range(256)) * 40
FILE = CheckpointFile(name="sae.safetensors", bytes=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest())
TAG = f'"{FILE.sha256}"'


class Breaking(httpx.SyncByteStream):
    """A body that breaks off after so many bytes."""

    def __init__(self, content: bytes, after: int | None) -> None:
        self._content, self._after = content, after

    def __iter__(self) -> Iterator[bytes]:
        yield self._content[: self._after]
        if self._after is not None:
            raise httpx.ReadError("broken")


class Store(httpx.BaseTransport):
    """A service with one file, whose answers break off where the script says so; None is a whole answer."""

    def __init__(self, *breaks: int | None, content: bytes = CONTENT, hears_ranges: bool = True) -> None:
        self.breaks, self.content, self.hears_ranges = list(breaks), content, hears_ranges
        self.asked: list[str | None] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        asked = request.headers.get("Range")
        self.asked.append(asked)
        after = self.breaks.pop(0)
        span = span_asked_for(asked, len(self.content), if_range=request.headers.get("If-Range"), tag=TAG)
        if span is None or not self.hears_ranges:
            return httpx.Response(200, stream=Breaking(self.content, after))
        part = {"Content-Range": f"bytes {span.start}-{span.stop - 1}/{len(self.content)}"}
        return httpx.Response(206, headers=part, stream=Breaking(self.content[span.start : span.stop], after))


def bring(store: httpx.BaseTransport, path: Path, on_bytes: Callable[[int], None] = lambda _: None) -> None:
    http = Http(Place("http://service", "secret", "a test"), transport=store, sleep=lambda _: None)
    fetch(http, UUID(int=1), FILE, path, on_bytes)


def test_a_connection_that_breaks_twice_costs_no_byte(tmp_path: Path) -> None:
    store, heard = Store(1000, 2000, None), list[int]()
    bring(store, tmp_path / "file", heard.append)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert store.asked == [None, "bytes=1000-", "bytes=3000-"]
    assert sum(heard) == len(CONTENT)


def test_what_a_call_could_not_finish_the_next_one_does(tmp_path: Path) -> None:
    with pytest.raises(ConnectionFailed, match="broke off"):
        bring(Store(5000, 0), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT[:5000]
    store, heard = Store(None), list[int]()
    bring(store, tmp_path / "file", heard.append)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert store.asked == ["bytes=5000-"]
    assert sum(heard) == len(CONTENT)
    bring(Store(), tmp_path / "file")  # nothing is asked for what is there


def test_a_service_that_sends_the_whole_file_anew_is_heard(tmp_path: Path) -> None:
    store, heard = Store(1000, None, hears_ranges=False), list[int]()
    bring(store, tmp_path / "file", heard.append)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert sum(heard) == len(CONTENT)


@pytest.mark.parametrize("rest", [b"x" * 5000, b"x" * len(CONTENT), b"x" * (len(CONTENT) + 1)])
def test_a_part_from_before_that_is_wrong_is_fetched_again(tmp_path: Path, rest: bytes) -> None:
    (tmp_path / "file").write_bytes(rest)
    bring(Store(None, None), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT


@pytest.mark.parametrize("content", [b"y" + CONTENT[1:], CONTENT[:-1], CONTENT + b"more"])
def test_what_is_not_what_was_announced_is_not_kept(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DownloadFailed, match=f"announced were {len(CONTENT)} bytes"):
        bring(Store(None, None, content=content), tmp_path / "file")
    assert not (tmp_path / "file").exists()


def test_a_part_that_was_not_asked_for_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(CONTENT[:10])
    wrong = httpx.Response(206, headers={"Content-Range": "bytes 0-9/10240"}, content=CONTENT[:10])
    with pytest.raises(DownloadFailed, match="another part"):
        bring(httpx.MockTransport(lambda _: wrong), tmp_path / "file")


def test_the_token_does_not_go_where_the_service_sends_us(tmp_path: Path) -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        if request.url.host == "service":
            return httpx.Response(307, headers={"Location": "http://bucket/key?signature=1"})
        part = {"Content-Range": f"bytes 10-{len(CONTENT) - 1}/{len(CONTENT)}"}
        return httpx.Response(206, headers=part, content=CONTENT[10:])

    (tmp_path / "file").write_bytes(CONTENT[:10])
    bring(httpx.MockTransport(answer), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert asked[0].headers["Authorization"] == "Bearer secret"
    assert "Authorization" not in asked[1].headers
    assert asked[1].headers["Range"] == "bytes=10-"
    assert asked[1].headers["Host"] == "bucket"


@pytest.mark.parametrize("said", [httpx.Response(403, content=b"<Error/>"), httpx.ConnectError("refused")])
def test_a_store_that_refuses_or_does_not_answer_is_named(tmp_path: Path, said: httpx.Response | Exception) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "service":
            return httpx.Response(307, headers={"Location": "http://bucket/key"})
        if isinstance(said, Exception):
            raise said
        return said

    with pytest.raises(ConnectionFailed, match=r"^bucket, where http://service sends us"):
        bring(httpx.MockTransport(answer), tmp_path / "file")


def test_two_processes_do_not_write_to_one_folder(tmp_path: Path) -> None:
    other = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    with pytest.raises(DownloadFailed, match="Another process"), only_here(tmp_path):
        pass
    os.close(other)
    with only_here(tmp_path):
        pass
