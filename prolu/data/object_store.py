"""List and read the files below a prefix of an object store, range by range; nothing is held whole in memory.

Knows no format. What is not there or may not be read is a DataError; a store that fails is a StorageError, as of checkpoints.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import fsspec

from prolu.data.places import DataError, Interrupted, is_hidden
from prolu.models.artifacts import StorageError
from prolu.spec.urls import ObjectUrl

# Read at once: large enough for the store, small enough to hear a wish to stop.
PIECE_BYTES = 8 * 2**20


@dataclass(frozen=True)
class RemoteFile:
    """One file of a store, as it was when it was listed."""

    path: str
    """Bucket and key."""
    size: int
    """In bytes."""
    version: str
    """The store's ETag, which changes with the content; the time of change where it has none."""

    @property
    def name(self) -> str:
        """What to call it in an error."""
        return PurePosixPath(self.path).name

    @property
    def suffix(self) -> str:
        """The end of its name, with the dot."""
        return PurePosixPath(self.path).suffix


class ObjectPrefix:
    """What lies at a URL: one file, or the files below a prefix. `field` is what the spec calls it."""

    def __init__(self, url: ObjectUrl, *, field: str) -> None:
        self._url = url
        self._field = field
        with self._failures():
            self._store = fsspec.filesystem(url.scheme)

    def files(self, suffixes: Collection[str]) -> list[RemoteFile]:
        """Return the files with one of `suffixes`, in name order. Raises DataError if there is none, StorageError.

        As in a folder, what begins with a dot below the prefix does not count.
        """
        with self._failures():
            self._store.invalidate_cache()
            listed: dict[str, dict[str, Any]] = self._store.find(self._url.path, detail=True)
        here = [
            _remote(path, found)
            for path, found in listed.items()
            if path == self._url.path or path.startswith(f"{self._url.path}/")
        ]
        start = PurePosixPath(self._url.path)
        fitting = [
            file
            for file in here
            if file.suffix in suffixes and not is_hidden(PurePosixPath(file.path).relative_to(start))
        ]
        if not fitting:
            wanted = " or ".join(sorted(suffixes))
            raise DataError(
                f"{self._field} is {str(self._url)!r}, below which this service finds {len(here)} files and no {wanted} file; "
                "check the prefix."
            )
        return sorted(fitting, key=lambda file: PurePosixPath(file.path))

    def pieces(self, file: RemoteFile) -> Iterator[bytes]:
        """Yield the content in order. Raises DataError if it changed since it was listed, StorageError."""
        for start in range(0, file.size, PIECE_BYTES):
            stop = min(start + PIECE_BYTES, file.size)
            with self._failures():
                piece: bytes = self._store.cat_file(file.path, start=start, end=stop)
            if len(piece) != stop - start:
                raise self._changed(file)
            yield piece
        self.require_unchanged(file)

    @contextmanager
    def opened(self, file: RemoteFile) -> Iterator[io.IOBase]:
        """Give the file to read and seek in, by ranges. Raises DataError if it changed since it was listed, StorageError."""
        with self._failures():
            handle = self._store.open(file.path, "rb", block_size=PIECE_BYTES)
        with self._failures(), handle:
            yield handle
        self.require_unchanged(file)

    def require_unchanged(self, file: RemoteFile) -> None:
        """Raise DataError if the file is no longer the one that was listed."""
        with self._failures():
            self._store.invalidate_cache()
            now = _remote(file.path, self._store.info(file.path))
        if now != file:
            raise self._changed(file)

    def _changed(self, file: RemoteFile) -> DataError:
        return DataError(
            f"{self._field} is {str(self._url)!r}, where {file.name} changed while it was read; wait until it is written, "
            "then run again."
        )

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Tell what the spec's author or the operator can mend from a store that fails; each client has its own exceptions."""
        place = f"{self._field} is {str(self._url)!r}"
        try:
            yield
        except (DataError, Interrupted, StorageError):
            raise
        except FileNotFoundError:
            raise DataError(f"{place}, which does not exist or is gone; check the bucket and the prefix.") from None
        except PermissionError:
            raise DataError(f"{place}, which this service may not read; ask the operator for access.") from None
        except ImportError as error:
            raise DataError(f"{place}, which needs a package that is not installed here ({error}).") from None
        except Exception as error:
            raise StorageError(f"Reading {self._url} failed: {type(error).__name__}: {error}") from error


def _remote(path: str, found: dict[str, Any]) -> RemoteFile:
    versions = ("ETag", "etag", "LastModified", "updated", "mtime", "created")
    version = next((str(found[key]) for key in versions if found.get(key) is not None), "")
    return RemoteFile(path, int(found["size"]), version)
