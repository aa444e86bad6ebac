"""Where a command may write: looked at before anything is asked of the service, and said plainly if it fails after all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prolu.client.cli.documents import BadInput


def check_place(option: str, path: Path | None) -> None:
    """Refuse a file that could not be written in the end. No folder is made for it. Raises BadInput."""
    if path is not None:
        _check_parent(option, path)
        if path.is_dir():
            raise _unwritable(option, path, "it is a folder")
        if path.exists() and not os.access(path, os.W_OK):
            raise _unwritable(option, path, "it is read-only")


def check_new_folder(option: str, path: Path | None) -> None:
    """Refuse a folder that could not be made in the end. Raises BadInput."""
    if path is not None:
        _check_parent(option, path)
        if path.exists() and not path.is_dir():
            raise _unwritable(option, path, "it is a file")


@contextmanager
def writing(option: str, path: Path) -> Iterator[None]:
    """Write to `path` inside it. Raises BadInput where the system refuses."""
    try:
        yield
    except OSError as error:
        raise _unwritable(option, path, error.strerror or str(error)) from None


def _check_parent(option: str, path: Path) -> None:
    parent = path.parent
    if not parent.is_dir():
        raise _unwritable(option, path, f"there is no folder {str(parent)!r}")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise _unwritable(option, path, f"the folder {str(parent)!r} is read-only")


def _unwritable(option: str, path: Path, why: str) -> BadInput:
    return BadInput(f"{option} cannot be written to: got {str(path)!r}, but {why}; name a place in a folder of yours.")
