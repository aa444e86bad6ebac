"""What users feel of the dispatcher: how soon it starts a run, how soon it ends many, and that it does not grow.

An idle start takes the submission, at most one wait of the dispatcher for its bell, one plan and one claim. To cancel a
sweep takes one statement for the wishes, and one transaction of the dispatcher for each 500 runs that nobody holds.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

from sqlalchemy import func, select

from benchmarks.queue.claiming import fill
from benchmarks.queue.dispatcher import dispatcher_on
from benchmarks.queue.http import ask
from benchmarks.queue.service import Service
from benchmarks.queue.work import run_document, sweep_document
from service.store.db import Database
from service.store.models import RunRow

_PATIENCE_SECONDS = 600.0


def submit_to_start_seconds(database: Database, service: Service, *, count: int) -> list[float]:
    """Submit runs into an idle queue, one at a time and at no steady pace; from before each POST to the order of its actor."""
    pace, took = random.Random(0), []
    with dispatcher_on(database, cpus=2) as dispatcher:
        for number in range(count):
            time.sleep(pace.uniform(0.3, 0.9))
            began = time.perf_counter()
            run = ask(service, "POST", "/v1/runs", run_document(number), status=201).document
            started, moment = dispatcher.next_start(within_seconds=30)
            if started != run["id"]:
                raise RuntimeError(f"The dispatcher started {started}, not {run['id']}.")
            took.append(moment - began)
            wait_for(lambda: left(database) == 0, every_seconds=0.05)
    return took


def cancel_seconds(database: Database, service: Service, *, count: int) -> float:
    """Cancel a sweep of `count` runs, two of which train; from before the POST until the API shows all of them cancelled."""
    with dispatcher_on(database, cpus=2, patient=True) as dispatcher:
        sweep = ask(service, "POST", "/v1/sweeps", sweep_document(count), status=201).document
        for _ in range(2):
            dispatcher.next_start(within_seconds=30)
        wait_for(lambda: _states(service, sweep["id"]).get("queued") == count - 2, every_seconds=0.1)
        began = time.perf_counter()
        ask(service, "POST", f"/v1/sweeps/{sweep['id']}:cancel", status=202)
        wait_for(lambda: _states(service, sweep["id"]) == {"cancelled": count}, every_seconds=0.02)
        return time.perf_counter() - began


def memory_mib(database: Database, *, marks: Sequence[int]) -> dict[str, float]:
    """Work off as many runs as the last mark says; the dispatcher's resident memory when each mark is reached."""
    fill(database, marks[-1])
    found: dict[str, float] = {}
    with dispatcher_on(database, cpus=200, poll_seconds=0.05) as dispatcher:
        for mark in marks:

            def reached(mark: int = mark) -> bool:
                dispatcher.forget_starts()
                return marks[-1] - left(database) >= mark

            wait_for(reached, every_seconds=0.05)
            found[str(mark)] = round(dispatcher.memory_mib(), 1)
    return found


def left(database: Database) -> int:
    """Runs that have not succeeded."""
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(RunRow).where(RunRow.state != "succeeded")) or 0


def wait_for(there: Callable[[], bool], *, every_seconds: float) -> None:
    """Look until something is so. Raises TimeoutError."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not there():
        if time.monotonic() > deadline:
            raise TimeoutError(f"What the benchmark waits for has not come within {_PATIENCE_SECONDS} s.")
        time.sleep(every_seconds)


def _states(service: Service, sweep_id: str) -> dict[str, int]:
    states: dict[str, int] = ask(service, "GET", f"/v1/sweeps/{sweep_id}").document["states"]
    return states
