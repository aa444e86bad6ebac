"""Write files so that they are there whole or not at all, even if the process or the machine dies."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from prolu.models.artifacts import flush

# Names that a killed writer may leave behind end in this; nobody reads them.
UNFINISHED = ".unfinished"


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to `path`, making its folder if need be; a reader sees the old file, or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.", suffix=UNFINISHED)
    unfinished = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        commit(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def commit(unfinished: Path, path: Path) -> None:
    """Give a finished file or flat folder its name, once its content is on the disk."""
    for part in [*unfinished.iterdir(), unfinished] if unfinished.is_dir() else [unfinished]:
        flush(part)
    unfinished.replace(path)
    flush(path.parent)
