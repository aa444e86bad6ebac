"""A folder of the artifact store, local or remote: read a file, publish a file. Knows no format.

StorageError   the store cannot be reached, read or written: disk full, no permission, no network
TooLong        a file is longer than any of its kind
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem


class StorageError(OSError):
    """The artifact store failed; trying again later may help."""


class TooLong(Exception):
    """A file has `size` bytes, which is more than whoever reads it wants in memory."""

    def __init__(self, size: int) -> None:
        self.size = size
        super().__init__(f"it has {size} bytes")


def flush(path: Path) -> None:
    """Wait until a local file's content, or a folder's list of names, has reached the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class ArtifactFolder:
    """The folder `below` an fsspec root (a path, `file://`, `s3://`), which need not exist yet."""

    def __init__(self, root: str, below: str = "") -> None:
        with _failures_as_storage_errors(f"Opening the artifact store {root}"):
            self._filesystem, base = url_to_fs(root)
        self._path = f"{base.rstrip('/')}/{below}".rstrip("/")
        self.url = f"{root.rstrip('/')}/{below}".rstrip("/")
        self._local = isinstance(self._filesystem, LocalFileSystem)

    def read(self, name: str, *, at_most: int | None = None) -> bytes:
        """Return the content of a file. Raises TooLong, before it is read, if it has more than `at_most` bytes.

        Raises FileNotFoundError if there is none (what never ends, such as a device or a pipe, is none), StorageError if the
        store fails.
        """
        path = f"{self._path}/{name}"
        with _failures_as_storage_errors(f"Reading {self.url}/{name}", missing_is_failure=False):
            if self._local and Path(path).exists() and not Path(path).is_file():
                raise FileNotFoundError(f"{path} is no regular file")
            size = 0 if at_most is None else int(self._filesystem.size(path))
        if at_most is not None and size > at_most:
            raise TooLong(size)
        with _failures_as_storage_errors(f"Reading {self.url}/{name}", missing_is_failure=False):
            content: bytes = self._filesystem.cat_file(path)
        return content

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """Give a local folder to write files in before they are published; it is gone afterwards.

        Of a local store it lies beside the folder itself, so that publishing is a rename.
        """
        if not self._local:
            with tempfile.TemporaryDirectory(prefix="prolu-") as scratch:
                yield Path(scratch)
            return
        target = Path(self._path)
        scratch_path = target.parent / f".{target.name}.partial"
        with _failures_as_storage_errors(f"Preparing {self.url}"):
            shutil.rmtree(scratch_path, ignore_errors=True)
            scratch_path.mkdir(parents=True)
        try:
            yield scratch_path
        finally:
            shutil.rmtree(scratch_path, ignore_errors=True)

    def publish(self, staging: Path, name: str) -> None:
        """Put the file `name` (with `/`) of a staging folder here, whole or not at all, and on the disk when this returns."""
        staged = staging / name
        with _failures_as_storage_errors(f"Writing {self.url}/{name}"):
            if not self._local:
                self._filesystem.put_file(str(staged), f"{self._path}/{name}")
                return
            target = Path(self._path, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            flush(staged)
            staged.replace(target)
            for folder in list(target.parents)[
                : len(PurePosixPath(name).parts) + 1
            ]:  # up to the one that holds this folder
                flush(folder)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        with _failures_as_storage_errors(f"Removing {self.url}/{name}"):
            if self._filesystem.exists(f"{self._path}/{name}"):
                self._filesystem.rm_file(f"{self._path}/{name}")

    def discard(self) -> None:
        """Remove the folder and all that is in it, if it is there."""
        with _failures_as_storage_errors(f"Removing {self.url}"):
            if self._filesystem.exists(self._path):
                self._filesystem.rm(self._path, recursive=True)


@contextmanager
def _failures_as_storage_errors(what: str, *, missing_is_failure: bool = True) -> Iterator[None]:
    """Give every failure of a store one type; remote ones raise their client library's own, which are not OSErrors."""
    try:
        yield
    except FileNotFoundError as error:
        if not missing_is_failure:
            raise
        raise StorageError(f"{what} failed: {error}") from error
    except Exception as error:
        raise StorageError(f"{what} failed: {error}") from error
