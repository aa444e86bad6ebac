"""Put a file in the place of another once it is whole: what was there stays until then, and stays for good if it breaks off."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a place beside `path`, with its ending, to write to; what was written there is `path` after the block.

    Where the block raises, nothing of it stays. What is no plain file, as /dev/stdout or a pipe, is written to as it is.
    Raises OSError.
    """
    goal = Path(path).resolve()  # behind a link, so that the link stays one
    if goal.exists() and not goal.is_file():
        yield Path(path)
        return
    unfinished = goal.with_name(f".prolu-{uuid4().hex[:12]}{goal.suffix}")
    try:
        yield unfinished
        if goal.exists():
            shutil.copymode(goal, unfinished)
        unfinished.replace(goal)
    finally:
        unfinished.unlink(missing_ok=True)
