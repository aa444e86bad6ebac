"""The whole life of runs that do nothing, on PostgreSQL: submit, claim, note the start, finish. Ours and the peer's.

Ours comes through HTTP, into the service's process, and out through the dispatcher's. The peer has no HTTP: its jobs are
deferred straight into the database, from one process, while a worker in another runs them.
"""

from __future__ import annotations

import multiprocessing
import time

from benchmarks.queue.dispatcher import dispatcher_on
from benchmarks.queue.dispatching import left, wait_for
from benchmarks.queue.procrastinating import Peer
from benchmarks.queue.service import Service
from benchmarks.queue.submitting import submissions_per_s
from service.store.db import Database


def ours_per_s(database: Database, service: Service, *, count: int) -> float:
    """From the first request to the last success."""
    with dispatcher_on(database, cpus=200, poll_seconds=0.1) as dispatcher:
        began = time.perf_counter()
        submissions_per_s(service, count=count)

        def all_done() -> bool:
            dispatcher.forget_starts()
            return left(database) == 0

        wait_for(all_done, every_seconds=0.02)
        return count / (time.perf_counter() - began)


def peers_per_s(peer: Peer, *, count: int, in_all: int) -> float:
    """From the first job deferred to the last one finished, when `in_all` are."""
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    process = context.Process(target=peer.work_until, args=(in_all, ready, done), daemon=True)
    process.start()
    try:
        ready.wait(60)
        began = time.perf_counter()
        peer.defer_one_by_one(count)
        if not done.wait(600):
            raise TimeoutError(f"The peer did not finish {count} jobs within 600 s.")
        return count / (time.perf_counter() - began)
    finally:
        process.terminate()
        process.join(30)
