"""The files of checkpoints, read from wherever the operator keeps them: a folder, S3, any fsspec store.

Files are streamed in pieces; nothing is held whole in memory. Writing is the workers' business; removing is here.
"""

from __future__ import annotations

import contextlib
import io
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import IO, Any

import fsspec

from prolu.spec.report import CheckpointFile
from service.domain.errors import Damaged, NotFound, ServiceError, Unavailable
from service.domain.ranges import Span

MANIFEST = "manifest.json"
LARGEST_MANIFEST_BYTES = 1_000_000
_PIECE_BYTES = 1 << 20
_VERIFIED_AT_ONCE = 2


class Artifacts:
    """The artifact store below one root, which is a path or an fsspec URL."""

    def __init__(self, root: str) -> None:
        self._url = root
        self._store: tuple[Any, str] | None = None
        self.verifying = threading.BoundedSemaphore(_VERIFIED_AT_ONCE)
        """Held by whoever reads whole checkpoints only to look at them."""

    def require(self) -> None:
        """See that the store answers, and make the root if it is a folder. Raises Unavailable where it does not."""
        try:
            filesystem, root = self._open_store()
            if "file" in _protocols(filesystem):
                Path(root).mkdir(parents=True, exist_ok=True)
                return
            bucket = root.split("/")[0]
            filesystem.invalidate_cache()
            found = filesystem.exists(bucket)
        except Exception as error:  # each store has its own
            raise Unavailable(f"The artifact store cannot be reached: {_brief(error)}") from error
        if not found:
            raise Unavailable(f"The artifact store has no {bucket!r}; make it, or correct PROLU_ARTIFACT_ROOT.")

    def stream(self, folder: str, file: CheckpointFile, span: Span | None = None) -> Iterator[bytes]:
        """Give a file, or the bytes in `span` of it, piece by piece; it is opened before the first piece is asked for.

        Raises NotFound where the file is gone, Damaged where it has another size, Unavailable where the store cannot be reached.
        """
        return _pieces(self._open_whole(folder, file), span or Span(0, file.bytes))

    def size_of(self, folder: str, name: str) -> int:
        """Give the size of a file in bytes. Raises NotFound where it is gone, Unavailable where the store cannot be reached."""
        with self._open(folder, name) as opened, _answering(name):
            return opened.seek(0, io.SEEK_END)

    def require_whole(self, folder: str, files: Sequence[CheckpointFile]) -> None:
        """See that each file is there with its size; their content is not read. Raises as `stream` does."""
        for file in files:
            self._open_whole(folder, file).close()

    def read_small(self, folder: str, name: str, *, at_most: int) -> bytes:
        """Read a small file whole. Raises Damaged where it is longer than `at_most` bytes, else as `stream` does."""
        with self._open(folder, name) as opened, _answering():
            content = opened.read(at_most + 1)
        if len(content) > at_most:
            raise Damaged(f"The file {name} of this checkpoint has more than {at_most} bytes, which no {name} has.")
        return content

    def stream_zip(
        self,
        folder: str,
        files: Sequence[CheckpointFile],
        more: Mapping[str, bytes] = MappingProxyType({}),
        *,
        made_at: datetime,
        without_prefix: str = "",
    ) -> Iterator[bytes]:
        """Give these files of a checkpoint, and `more`, as one uncompressed zip, piece by piece, their names without the prefix.

        Raises as `stream` does, of any of them, before the first piece is asked for.
        """
        self.require_whole(folder, files)
        return self._zip(folder, files, more, made_at, without_prefix)

    def presigned(self, folder: str, file: CheckpointFile, *, seconds: int, disposition: str) -> str | None:
        """Give an address at which anybody may read the file for so long; None where the store is none of S3's kind.

        Raises as `stream` does.
        """
        filesystem, _ = self._open_store()
        if not {"s3", "s3a"} & set(_protocols(filesystem)):
            return None
        self.require_whole(folder, [file])
        with _answering():
            url: str = filesystem.url(
                self._path(folder, file.name), expires=seconds, ResponseContentDisposition=disposition
            )
        return url

    def remove(self, folder: str, names: Sequence[str]) -> None:
        """Remove the files of a checkpoint, its manifest first, and its folder; what is gone already does not matter.

        Raises Unavailable where the store cannot be reached or forbids it.
        """
        filesystem, _ = self._open_store()
        with _answering():
            for name in [MANIFEST, *(name for name in names if name != MANIFEST)]:
                with contextlib.suppress(FileNotFoundError):
                    filesystem.rm_file(self._path(folder, name))
            if "file" in _protocols(filesystem):
                _remove_empty(Path(self._path(folder)), {PurePosixPath(name).parent for name in names})

    def remove_folder(self, folder: str) -> None:
        """Remove a folder with all that is in it, if it is there. Raises Unavailable as `remove` does."""
        filesystem, _ = self._open_store()
        with _answering(), contextlib.suppress(FileNotFoundError):
            filesystem.invalidate_cache()
            filesystem.rm(self._path(folder), recursive=True)

    def _zip(
        self,
        folder: str,
        files: Sequence[CheckpointFile],
        more: Mapping[str, bytes],
        made_at: datetime,
        without_prefix: str,
    ) -> Iterator[bytes]:
        sink = _Sink()
        contents: list[tuple[str, Callable[[], Iterable[bytes]]]] = [
            (file.name, partial(self.stream, folder, file)) for file in files
        ]
        contents += [(name, partial(iter, [content])) for name, content in more.items()]
        with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
            for name, pieces in contents:
                entry = zipfile.ZipInfo(name.removeprefix(without_prefix), made_at.timetuple()[:6])
                with archive.open(entry, "w", force_zip64=True) as out:
                    for piece in pieces():
                        out.write(piece)
                        yield sink.take()
        yield sink.take()

    def _open_whole(self, folder: str, file: CheckpointFile) -> IO[bytes]:
        opened = self._open(folder, file.name)
        try:
            with _answering():
                size = opened.seek(0, io.SEEK_END)
            if size != file.bytes:
                raise Damaged(
                    f"The file {file.name} of this checkpoint has {size} bytes in the artifact store, and was written with "
                    f"{file.bytes}; take another checkpoint, or put the file back from a copy."
                )
        except ServiceError:
            opened.close()
            raise
        return opened

    def _open(self, folder: str, name: str) -> IO[bytes]:
        filesystem, _ = self._open_store()
        path = self._path(folder, name)
        with _answering(name):
            opened: IO[bytes] = filesystem.open(path, "rb", block_size=_PIECE_BYTES)
        return opened

    def _path(self, folder: str, name: str | None = None) -> str:
        root = self._open_store()[1].rstrip("/")
        return f"{root}/{_inside(folder)}" if name is None else f"{root}/{_inside(folder)}/{_inside(name)}"

    def _open_store(self) -> tuple[Any, str]:
        # Later than the constructor: S3 may ask the network for its credentials.
        if self._store is None:
            with _answering():
                self._store = fsspec.url_to_fs(self._url, **_options(self._url))
        return self._store


class _Sink(io.RawIOBase):
    """Takes what a zip writes, in order, and hands it on."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:
        self._waiting += piece
        return len(piece)

    def take(self) -> bytes:
        taken = bytes(self._waiting)
        self._waiting.clear()
        return taken


@contextmanager
def _answering(name: str | None = None) -> Iterator[None]:
    """Ask the store for something, of the file `name`. Raises NotFound where that is gone, Unavailable where the store fails."""
    try:
        yield
    except ServiceError:
        raise
    except FileNotFoundError as error:
        if name is not None:
            raise NotFound(f"The file {name} of this checkpoint is no longer in the artifact store.") from None
        raise Unavailable(f"The artifact store cannot be reached: {_brief(error)}") from error
    except Exception as error:  # each store has its own
        raise Unavailable(f"The artifact store cannot be reached: {_brief(error)}") from error


def _pieces(opened: IO[bytes], span: Span) -> Iterator[bytes]:
    with opened:
        opened.seek(span.start)
        left = span.length
        while left and (piece := opened.read(min(left, _PIECE_BYTES))):
            left -= len(piece)
            yield piece


def _remove_empty(folder: Path, below: Iterable[PurePosixPath]) -> None:
    """Remove a local folder and those `below` it; what somebody else has put there stays."""
    for inner in sorted(below, reverse=True):
        place = folder / inner
        while place.is_relative_to(folder):
            with contextlib.suppress(FileNotFoundError):
                if any(place.iterdir()):
                    break
                place.rmdir()
            place = place.parent


def _inside(name: str) -> str:
    """Refuse names that would lead out of the folder: they come from workers."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\\" in name or "\0" in name:
        raise NotFound(f"{name!r} is not the name of a file in a checkpoint.")
    return str(path)


def _options(url: str) -> dict[str, Any]:
    """Sign addresses as S3 asks for since 2014, unless the operator's configuration of fsspec says otherwise.

    By itself boto signs those that it gives away in the old way, which most regions and every new bucket refuse.
    """
    protocol = fsspec.utils.get_protocol(url)
    if protocol not in ("s3", "s3a"):
        return {}
    configured = fsspec.config.conf.get(protocol, {}).get("config_kwargs", {})
    return {"config_kwargs": {"signature_version": "s3v4", **configured}}


def _protocols(filesystem: Any) -> Sequence[str]:
    protocol = filesystem.protocol
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:200]}"
