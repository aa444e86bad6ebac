"""The real dispatcher as a process of its own, on a cluster in memory: what it starts, and how much memory it takes."""

from __future__ import annotations

import logging
import multiprocessing
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import structlog

from benchmarks.queue.cluster import NoOpCluster
from benchmarks.queue.databases import url_of
from service.settings import Settings
from service.store.db import Database
from workers.dispatcher import Dispatcher

_PAGE_BYTES = 4096
_MIB = 2**20


@dataclass
class RunningDispatcher:
    """A dispatcher that works until the end of the block."""

    pid: int
    _starts: Connection

    def next_start(self, *, within_seconds: float) -> tuple[str, float]:
        """The next run that an actor is asked for, and when, by `time.perf_counter`. Raises TimeoutError."""
        if not self._starts.poll(within_seconds):
            raise TimeoutError(f"The dispatcher started nothing within {within_seconds} s.")
        run_id, moment = self._starts.recv()
        return run_id, moment

    def forget_starts(self) -> None:
        """Drop what was told of starts, so that the dispatcher never waits for a reader."""
        while self._starts.poll():
            self._starts.recv()

    def memory_mib(self) -> float:
        """Resident memory, in MiB."""
        resident = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return resident * _PAGE_BYTES / _MIB


@contextmanager
def dispatcher_on(
    database: Database, *, cpus: int, patient: bool = False, poll_seconds: float = 0.5
) -> Iterator[RunningDispatcher]:
    """Dispatch the database's queue to a node of `cpus`, with the default settings but for the pace that is given."""
    context = multiprocessing.get_context("spawn")
    starts, told = context.Pipe(duplex=False)
    ended = context.Event()
    arguments = (url_of(database), cpus, patient, poll_seconds, told, ended)
    process = context.Process(target=_dispatch, args=arguments, daemon=True)
    process.start()
    told.close()
    try:
        starts.recv()  # it is there
        yield RunningDispatcher(process.pid or 0, starts)
    finally:
        ended.set()
        process.join(30)
        process.kill()


def _dispatch(
    url: str, cpus: int, patient: bool, poll_seconds: float, told: Connection, ended: threading.Event
) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    database = Database(url)
    settings = Settings(database_url=url, poll_seconds=poll_seconds, holder="bench")
    cluster = NoOpCluster(cpus, lambda run_id, moment: told.send((run_id, moment)), patient=patient)
    told.send(("", 0.0))
    Dispatcher(database, cluster, settings).run(ended)
    database.dispose()
