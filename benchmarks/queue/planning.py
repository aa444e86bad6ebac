"""How long it takes to plan a long queue: the pure plan of several kinds of queues, and a whole turn with its database."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.queue.mixes import MIXES
from service.domain.planning import Policy
from service.store import situation
from service.store.db import Database
from service.store.planned import Planned


def plans(*, count: int, times: int) -> dict[str, dict[str, Any]]:
    """Plan `count` runs of each mix, and forecast the first thousand; milliseconds by the wall clock, by mix.

    `plan_ms` is the quickest of all repetitions: a plan computes in one thread and waits for nothing, so what a machine does
    besides can only add to it. All are beside it. The garbage collector works as it does in the service and the dispatcher.
    """
    found = {}
    for name, mix in MIXES.items():
        drawn = mix.drawn(count)
        planning = [_milliseconds(drawn.plan) for _ in range(times)]
        forecasting = [_milliseconds(partial(drawn.forecast, min(count, 1000))) for _ in range(times)]
        found[name] = {
            "about": mix.about,
            "plan_ms": min(planning),
            "forecast_1000_ms": min(forecasting),
            "all_plans_ms": planning,
        }
    return found


def turns(database: Database, *, times: int) -> dict[str, list[float]]:
    """Milliseconds by the wall clock to read a queue that is full, to read and plan it, and to make the view that readers see."""

    def read() -> situation.Situation:
        with database.read() as session:
            return situation.read(session, Policy())

    return {
        "read_ms": [_milliseconds(read) for _ in range(times)],
        "read_and_plan_ms": [_milliseconds(lambda: read().plan(Policy())) for _ in range(times)],
        "view_ms": [_milliseconds(Planned(database, Policy()).view) for _ in range(times)],
    }


def _milliseconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began)
