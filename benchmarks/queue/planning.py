"""How long it takes to plan a long queue: the pure plan of several kinds of queues, and a whole turn with its database."""

from __future__ import annotations

import statistics
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
    """Plan `count` runs of each mix, and forecast the first thousand; the medians, by mix.

    `plan_ms` is processor time: the plan computes in one thread and waits for nothing, and what else the machine does is not
    its own. `wall_ms` is beside it. The garbage collector works as it does in the service and the dispatcher.
    """
    found = {}
    for name, mix in MIXES.items():
        drawn = mix.drawn(count)
        planning = [_clocked(drawn.plan) for _ in range(times)]
        forecasting = [_clocked(partial(drawn.forecast, min(count, 1000))) for _ in range(times)]
        found[name] = {
            "about": mix.about,
            "plan_ms": statistics.median(own for own, _ in planning),
            "wall_ms": statistics.median(wall for _, wall in planning),
            "forecast_1000_ms": statistics.median(own for own, _ in forecasting),
        }
    return found


def turns(database: Database, *, times: int) -> dict[str, list[float]]:
    """Milliseconds by the wall clock to read a queue that is full, to read and plan it, and to make the view that readers see."""

    def read() -> situation.Situation:
        with database.read() as session:
            return situation.read(session, Policy())

    return {
        "read_ms": [_clocked(read)[1] for _ in range(times)],
        "read_and_plan_ms": [_clocked(lambda: read().plan(Policy()))[1] for _ in range(times)],
        "view_ms": [_clocked(Planned(database, Policy()).view)[1] for _ in range(times)],
    }


def _clocked(work: Callable[[], object]) -> tuple[float, float]:
    """Processor and wall time, in ms."""
    own, wall = time.process_time(), time.perf_counter()
    work()
    return 1000 * (time.process_time() - own), 1000 * (time.perf_counter() - wall)
