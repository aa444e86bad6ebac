"""How long it takes to plan a long queue: the pure plan, and reading from the database what it needs."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

from service.domain.planning import Asked, Candidate, Node, Occupant, Policy, plan
from service.store import situation
from service.store.db import Database

_NOW = datetime(2026, 1, 8, tzinfo=UTC)
_USERS, _NODES, _LIVE = 20, 16, 90


def plan_seconds(*, count: int, times: int) -> list[float]:
    """Plan `count` runs of 20 users, all kinds of sizes and priorities, on 16 nodes of 8 GPUs that 90 runs work on."""
    draw = random.Random(0)
    waiting = [_candidate(number, draw) for number in range(count)]
    live = [_occupant(count + number) for number in range(_LIVE)]
    nodes = [Node(f"n{number}", 64, 8, 512.0) for number in range(_NODES)]
    usage = {f"u{number}": draw.random() * 1e6 for number in range(_USERS)}
    took = []
    for _ in range(times):
        began = time.perf_counter()
        plan(waiting, live, nodes, usage=usage, weights={}, now=_NOW, policy=Policy())
        took.append(time.perf_counter() - began)
    return took


def reading_seconds(database: Database, *, times: int) -> list[float]:
    """Read the situation of a queue that is full."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        with database.read() as session:
            situation.read(session, Policy())
        took.append(time.perf_counter() - began)
    return took


def _candidate(number: int, draw: random.Random) -> Candidate:
    gpus, ranks = draw.choice([0.25, 0.5, 1.0, 1.0]), draw.choice([1, 1, 1, 2, 4])
    return Candidate(
        run_id=UUID(int=number),
        owner=f"u{number % _USERS}",
        waiting_since=_NOW - timedelta(hours=30 * draw.random()),
        asked=Asked(1, gpus, 1.0, ranks),
        priority=draw.choice([10, 50, 90]),
    )


def _occupant(number: int) -> Occupant:
    return Occupant(
        run_id=UUID(int=number),
        owner=f"u{number % _USERS}",
        asked=Asked(1, 1.0, 1.0),
        nodes=(f"n{number % _NODES}",),
        ran_seconds=60.0 * (number % _LIVE),
    )
