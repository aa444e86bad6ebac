"""One `prolu up` per data directory, and the note by which clients on the same machine find it.

The lock is a flock on `<data_dir>/up.lock`. The guardians of the children inherit it, so that it is free only when the last
process of a `prolu up` has gone, also if that was killed: two stacks never share a data directory.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from prolu.client.locate import ENDPOINT_FILE

_LEAVING_SECONDS = 30.0
_DYING_SECONDS = 1.0  # a killed process is seen for a moment longer
_CHECK_SECONDS = 0.1


class Held(Exception):
    """Another `prolu up` works on the data directory; the sentence names its process."""


@contextmanager
def hold(data_dir: Path, *, say: Callable[[str], None]) -> Iterator[int]:
    """Hold the data directory; yield the lock's file descriptor, for the children's guardians to inherit.

    Waits half a minute for the processes of a `prolu up` that is dead already. Raises Held if a living one has it.
    """
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = data_dir / "up.lock"
    with path.open("a+", encoding="utf-8") as file:
        _wait_for(file.fileno(), path, data_dir, say)
        file.seek(0)
        file.truncate()
        json.dump({"pid": os.getpid(), "started_at": datetime.now(UTC).isoformat(timespec="seconds")}, file)
        file.flush()
        yield file.fileno()


def _wait_for(descriptor: int, path: Path, data_dir: Path, say: Callable[[str], None]) -> None:
    begun = time.monotonic()
    told = False
    while not _take(descriptor):
        pid, since = _holder(path)
        dead = pid is not None and not _lives(pid)
        if time.monotonic() - begun > (_LEAVING_SECONDS if dead else _DYING_SECONDS):
            who = f"process {pid}, up since {since}," if pid else "another process"
            raise Held(
                f"{data_dir} is held by {who} already; stop that `prolu up` first, or choose another --data-dir."
            )
        if dead and not told:
            told = True
            say(f"waiting for what the former prolu up (process {pid}, dead) left to end")
        time.sleep(_CHECK_SECONDS)


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(path: Path) -> tuple[int | None, str]:
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
        return int(note["pid"]), str(note["started_at"])
    except (ValueError, KeyError, TypeError):
        return None, ""  # it has the lock and has not signed yet


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] not in ("Z", "X")
    except ProcessLookupError:
        return False
    except (PermissionError, FileNotFoundError):  # somebody else's, or a system without /proc
        return True


@contextmanager
def announced(data_dir: Path, url: str) -> Iterator[None]:
    """Leave a note of where the API listens, readable by this user alone, for as long as it does."""
    path = data_dir / ENDPOINT_FILE
    write_private(path, json.dumps({"url": url, "pid": os.getpid()}))
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


def write_private(path: Path, text: str) -> None:
    """Put a file in place at once and whole, with mode 600 from its first moment."""
    draft = path.with_suffix(".tmp")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)
