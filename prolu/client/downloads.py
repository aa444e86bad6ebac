"""Bring one file of a checkpoint here: it goes on where it broke off, and counts only with the checksum that was announced."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from uuid import UUID

import httpx

from prolu.client.errors import ConnectionFailed, DownloadFailed
from prolu.client.http import Http
from prolu.spec.report import CheckpointFile

# A connection that gives way this often within one file is not worth more.
_MOST_BREAKS = 20
_PIECE_BYTES = 1 << 20
_PART = re.compile(r"bytes ([0-9]{1,18})-")


def fetch(http: Http, checkpoint: UUID, file: CheckpointFile, path: Path, on_bytes: Callable[[int], None]) -> None:
    """Write a file to `path`, of which a part may be there from before; `on_bytes` hears of that part too.

    Raises ConnectionFailed where the connection is lost for good, with `path` as far as it came, and DownloadFailed where
    what came is not what was announced, with nothing at `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as out:
        arriving = _Arriving(out, file, on_bytes)
        began_at = arriving.take_up()
        _complete(http, checkpoint, arriving)
        if not arriving.is_whole and began_at:  # what was there from before may have been wrong
            arriving.begin_anew()
            _complete(http, checkpoint, arriving)
    if not arriving.is_whole:
        path.unlink()
        raise DownloadFailed(
            f"{file.name} of checkpoint {checkpoint} arrived with {arriving.length} bytes and sha256 {arriving.sha256}, "
            f"announced were {file.bytes} bytes and {file.sha256}; nothing was kept, try again."
        )


def are_whole(files: Sequence[CheckpointFile], folder: Path) -> bool:
    """Whether all of the files are in a folder with the checksums that were announced."""
    return all(_sha256_of(folder / file.name) == file.sha256 for file in files)


@contextmanager
def only_here(folder: Path, *, patient: bool = False) -> Iterator[None]:
    """Hold a folder that exists, so that no other process writes to it meanwhile.

    Raises DownloadFailed where one does; `patient` waits until it is done, and the folder may be gone then.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if patient else fcntl.LOCK_NB))
        yield
    except BlockingIOError:
        raise DownloadFailed(f"Another process downloads the same into {folder}; wait for it.") from None
    finally:
        os.close(descriptor)


def _sha256_of(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


class _Arriving:
    """A file as far as it has come, and the checksum of that."""

    def __init__(self, out: IO[bytes], file: CheckpointFile, on_bytes: Callable[[int], None]) -> None:
        self.file = file
        self._out = out
        self._on_bytes = on_bytes
        self.length = 0
        self._checksum = hashlib.sha256()

    @property
    def sha256(self) -> str:
        return self._checksum.hexdigest()

    @property
    def is_whole(self) -> bool:
        return self.length == self.file.bytes and self.sha256 == self.file.sha256

    def take_up(self) -> int:
        """Count in what is there from before. Returns its length."""
        if self._out.seek(0, os.SEEK_END) > self.file.bytes:
            self.begin_anew()
            return 0
        self._out.seek(0)
        while piece := self._out.read(_PIECE_BYTES):
            self._count(piece)
        return self.length

    def add(self, piece: bytes) -> None:
        """Append what came."""
        self._out.write(piece)
        self._count(piece)

    def begin_anew(self) -> None:
        """Forget what has come."""
        self._on_bytes(-self.length)
        self._out.truncate(0)
        self.length = 0
        self._checksum = hashlib.sha256()

    def _count(self, piece: bytes) -> None:
        self.length += len(piece)
        self._checksum.update(piece)
        self._on_bytes(len(piece))


def _complete(http: Http, checkpoint: UUID, arriving: _Arriving) -> None:
    """Ask for what is missing until all is there, as long as each try brings something. Raises as `fetch` does."""
    breaks = 0
    while arriving.length < arriving.file.bytes:
        before = arriving.length
        try:
            _ask_for_the_rest(http, checkpoint, arriving)
        except ConnectionFailed:
            breaks += 1
            if arriving.length == before or breaks == _MOST_BREAKS:
                raise
        else:
            return


def _ask_for_the_rest(http: Http, checkpoint: UUID, arriving: _Arriving) -> None:
    headers = {"Accept-Encoding": "identity"}
    if arriving.length:
        headers |= {"Range": f"bytes={arriving.length}-", "If-Range": f'"{arriving.file.sha256}"'}
    path = f"/v1/checkpoints/{checkpoint}/download"
    with http.stream(path, {"file": arriving.file.name}, headers=headers) as response:
        _place(response, arriving)
        for piece in response.iter_bytes():
            arriving.add(piece)
            if arriving.length > arriving.file.bytes:
                return  # more than was announced: no need to store it to know that it is wrong


def _place(response: httpx.Response, arriving: _Arriving) -> None:
    """See that the answer goes on where the file ends; an answer with the whole file begins it anew. Raises DownloadFailed."""
    if response.status_code != httpx.codes.PARTIAL_CONTENT:
        if arriving.length:
            arriving.begin_anew()
        return
    begins = _PART.match(response.headers.get("Content-Range", ""))
    if begins is None or int(begins[1]) != arriving.length:
        raise DownloadFailed(
            f"The service answers with another part of {arriving.file.name} than was asked for (from {arriving.length} on: "
            f"{response.headers.get('Content-Range', 'no Content-Range')[:80]}); nothing was kept, try again."
        )
