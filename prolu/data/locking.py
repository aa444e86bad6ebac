"""Let one process do a piece of work that several need, while the others wait and can be stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from prolu.data.places import Interrupted
from prolu.data.source import ShouldStop

_POLL_SECONDS = 0.25


@contextmanager
def only_one(path: Path, *, waiting: Callable[[], None], should_stop: ShouldStop) -> Iterator[None]:
    """Hold the lock file `path`; the operating system frees it when the holder dies.

    Calls `waiting` on each poll while another process holds it. Raises Interrupted when `should_stop` becomes true meanwhile.
    """
    path.parent.mkdir(parents=True, exist_ok=True)

    def give_up() -> bool:
        waiting()
        return should_stop()

    lock = FileLock(path)
    try:
        lock.acquire(poll_interval=_POLL_SECONDS, cancel_check=give_up)
    except Timeout:
        raise Interrupted(f"asked to stop while waiting for {path.name}") from None
    try:
        yield
    finally:
        lock.release()
