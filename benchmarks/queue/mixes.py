"""Long queues of several kinds, as the plan gets them: what is cheap to plan for one lab need not be for another."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from service.domain.planning import Asked, Candidate, Node, Occupant, Plan, Policy, forecast, plan

_NOW = datetime(2026, 1, 8, tzinfo=UTC)
_GPUS_PER_NODE = 8
_HOUR = 3600.0


@dataclass(frozen=True)
class Mix:
    """What distinguishes one long queue from another."""

    about: str
    users: int = 20
    nodes: int = 16
    busy: float = 0.7
    """Share of the GPUs that live runs of one GPU each hold."""
    limits: bool = False
    """Every run has a time limit, those that wait mostly shorter ones."""
    gang: int = 0
    """One run in ten is a gang of up to so many GPUs."""
    preemptible: bool = False
    """The live runs are."""
    shapes: int = 12
    """How many different requests there are, about."""
    at_once: bool = False
    """All were submitted in one moment, with one priority, as the points of a sweep are."""

    def drawn(self, count: int) -> Drawn:
        """Draw a queue of `count` runs; the same each time."""
        draw, asks = random.Random(0), dict[Asked, Asked]()
        return Drawn(
            waiting=[self._candidate(number, draw, asks) for number in range(count)],
            live=[self._occupant(count + number, draw) for number in range(self._live())],
            nodes=[Node(f"n{number:03}", 64, _GPUS_PER_NODE, 512.0) for number in range(self.nodes)],
            usage={f"u{number}": draw.random() * 1e6 for number in range(self.users)},
        )

    def _live(self) -> int:
        return round(self.busy * self.nodes * _GPUS_PER_NODE)

    def _candidate(self, number: int, draw: random.Random, asks: dict[Asked, Asked]) -> Candidate:
        """Equal requests are one object in `asks`, as those that are read from a database are."""
        memory_gb = 1.0 + draw.randrange(max(1, self.shapes // 12)) / 1024
        gpus, ranks = draw.choice([0.25, 0.5, 1.0, 1.0]), draw.choice([1, 1, 1, 2, 4])
        if self.gang and not number % 10:
            gpus, ranks = 1.0, draw.randint(2, self.gang)
        asked = Asked(1, gpus, memory_gb, ranks)
        return Candidate(
            run_id=UUID(int=draw.getrandbits(128)),
            owner=f"u{number % self.users}",
            waiting_since=_NOW - timedelta(hours=1 if self.at_once else 30 * draw.random()),
            asked=asks.setdefault(asked, asked),
            priority=50 if self.at_once else draw.choice([10, 50, 90]),
            limit_seconds=_HOUR * draw.uniform(0.1, 6) if self.limits else None,
        )

    def _occupant(self, number: int, draw: random.Random) -> Occupant:
        ran = 60.0 * (number % 90)
        return Occupant(
            run_id=UUID(int=number),
            owner=f"u{number % self.users}",
            asked=Asked(1, 1.0, 1.0),
            nodes=(f"n{number % self.nodes:03}",),
            preemptible=self.preemptible,
            ran_seconds=ran,
            ends_within_seconds=_HOUR * draw.uniform(1, 24) if self.limits else None,
        )


@dataclass(frozen=True)
class Drawn:
    """A queue, the runs that are live, the nodes, and what each user has used."""

    waiting: Sequence[Candidate]
    live: Sequence[Occupant]
    nodes: Sequence[Node]
    usage: dict[str, float]

    def plan(self) -> Plan:
        """Plan it as the dispatcher does."""
        return plan(self.waiting, self.live, self.nodes, usage=self.usage, weights={}, now=_NOW, policy=Policy())

    def forecast(self, count: int) -> dict[UUID, float]:
        """Play the first `count` forward, each run of an hour or two."""
        seconds = {one.run_id: _HOUR + one.run_id.int % 3600 for one in (*self.waiting, *self.live)}
        return forecast(self.waiting[:count], self.live, self.nodes, seconds=seconds)


MIXES = {
    "usual": Mix("20 users, 16 nodes of 8 GPUs, 7 of 10 GPUs busy"),
    "full": Mix("no GPU is free", busy=1.0),
    "users_100": Mix("100 users", users=100),
    "users_500": Mix("500 users", users=500),
    "limits": Mix("every run has a time limit, so that short ones may go first", limits=True),
    "nodes_100": Mix("100 nodes", nodes=100),
    "idle": Mix("100 nodes on which nothing runs, so that most starts are made", nodes=100, busy=0.0),
    "sweep": Mix("one user's sweep, submitted at once", users=1, at_once=True),
    "gangs": Mix("100 full nodes, and gangs of up to 256 GPUs", nodes=100, busy=1.0, limits=True, gang=256),
    "shapes": Mix("every run asks for a size of its own", busy=1.0, shapes=120_000),
    "preemption": Mix("no GPU is free, and the live runs may be preempted", busy=1.0, preemptible=True),
    "all": Mix(
        "100 full nodes, 500 users, a thousand sizes, limits on every run, preemptible live runs",
        users=500,
        nodes=100,
        busy=1.0,
        limits=True,
        preemptible=True,
        shapes=1000,
    ),
}
