"""The files of checkpoints, read from wherever the operator keeps them: a folder, S3, any fsspec store.

Files are streamed in pieces; nothing is held whole in memory. Writing is the workers' business.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import IO, Any

import fsspec

from service.domain.errors import NotFound, Unavailable

MANIFEST = "manifest.json"
_PIECE_BYTES = 1 << 20


class Artifacts:
    """The artifact store below one root, which is a path or an fsspec URL."""

    def __init__(self, root: str) -> None:
        self._url = root
        self._store: tuple[Any, str] | None = None

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

    def stream(self, folder: str, name: str) -> Iterator[bytes]:
        """Give a file piece by piece; it is opened before the first piece is asked for.

        Raises NotFound where the file is gone, Unavailable where the store cannot be reached.
        """
        return _pieces(self._open(folder, name))

    def stream_zip(
        self, folder: str, names: Sequence[str], *, made_at: datetime, without_prefix: str = ""
    ) -> Iterator[bytes]:
        """Give these files of a checkpoint as one uncompressed zip, piece by piece; their names there lack the prefix.

        Raises as `stream` does where the last of them cannot be opened.
        """
        self._open(folder, names[-1]).close()
        return self._zip(folder, names, made_at, without_prefix)

    def _zip(self, folder: str, names: Sequence[str], made_at: datetime, without_prefix: str) -> Iterator[bytes]:
        sink = _Sink()
        with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
            for name in names:
                entry = zipfile.ZipInfo(name.removeprefix(without_prefix), made_at.timetuple()[:6])
                with archive.open(entry, "w", force_zip64=True) as out:
                    for piece in self.stream(folder, name):
                        out.write(piece)
                        yield sink.take()
        yield sink.take()

    def _open(self, folder: str, name: str) -> IO[bytes]:
        filesystem, root = self._open_store()
        path = f"{root.rstrip('/')}/{_inside(folder)}/{_inside(name)}"
        try:
            opened: IO[bytes] = filesystem.open(path, "rb", block_size=_PIECE_BYTES)
        except FileNotFoundError:
            raise NotFound(f"The file {name} of this checkpoint is no longer in the artifact store.") from None
        except Exception as error:  # each store has its own
            raise Unavailable(f"The artifact store cannot be reached: {_brief(error)}") from error
        return opened

    def _open_store(self) -> tuple[Any, str]:
        # Later than the constructor: S3 may ask the network for its credentials.
        if self._store is None:
            self._store = fsspec.url_to_fs(self._url)
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


def _pieces(opened: IO[bytes]) -> Iterator[bytes]:
    with opened:
        while piece := opened.read(_PIECE_BYTES):
            yield piece


def _inside(name: str) -> str:
    """Refuse names that would lead out of the folder: they come from workers."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\\" in name:
        raise NotFound(f"{name!r} is not the name of a file in a checkpoint.")
    return str(path)


def _protocols(filesystem: Any) -> Sequence[str]:
    protocol = filesystem.protocol
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:200]}"
