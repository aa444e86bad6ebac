"""A cluster and its users, played forward event by event under the real plan: who gets what, and who waits how long."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from service.domain.planning import Asked, Candidate, Node, Occupant, Policy, plan
from service.domain.planning.shares import decayed

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Job:
    """A run with the time that it still needs."""

    candidate: Candidate
    needs: float
    preemptible: bool = False
    first_start: float | None = None
    preempted: int = 0
    done_at: float | None = None

    @property
    def wait(self) -> float:
        """Seconds from its submission to its first start."""
        submitted = (self.candidate.waiting_since - BEGIN).total_seconds()
        return (float("inf") if self.first_start is None else self.first_start) - submitted


@dataclass
class Lab:
    """Nodes, users and their runs; `now` is in seconds."""

    nodes: list[Node]
    policy: Policy = field(default_factory=Policy)
    weights: dict[str, float] = field(default_factory=dict)
    refill: Callable[[Job], None] = lambda _: None
    """Called when a run has ended: users who always want more submit the next."""
    now: float = 0.0

    def __post_init__(self) -> None:
        self.jobs: dict[UUID, Job] = {}
        self.waiting: dict[UUID, Job] = {}
        self.live: dict[UUID, tuple[Occupant, float]] = {}
        self.usage: dict[str, float] = defaultdict(float)
        self.took: dict[str, float] = defaultdict(float)
        self.plans = 0
        self._ends: list[tuple[float, UUID, float]] = []
        self._as_of = 0.0

    def submit(self, owner: str, needs: float, **more: Any) -> Job:
        """Put a run into the queue."""
        asked = Asked(more.pop("cpus", 1), more.pop("gpus", 0.0), 1.0, more.pop("ranks", 1))
        preemptible = more.pop("preemptible", False)
        run_id = UUID(int=len(self.jobs) + 1)
        since = BEGIN + timedelta(seconds=self.now)
        job = Job(Candidate(run_id, owner, since, asked, **more), needs, preemptible)
        self.jobs[run_id] = self.waiting[run_id] = job
        return job

    def play(self, until: float) -> None:
        """Plan, and let time pass to the next end, until a time or until nothing runs any more."""
        while True:
            self._plan()
            upcoming = [end for end in self._ends if self._counts(end)]
            heapq.heapify(upcoming)
            self._ends = upcoming
            if not upcoming or upcoming[0][0] > until:
                self._pass(until)
                return
            at, run_id, _ = heapq.heappop(self._ends)
            self._pass(at)
            self._end(run_id)

    def _counts(self, end: tuple[float, UUID, float]) -> bool:
        return end[1] in self.live and self.live[end[1]][1] == end[2]

    def _plan(self) -> None:
        """Plan until nothing changes: what was preempted makes room at once, and is planned again."""
        while True:
            self.plans += 1
            occupants = [
                replace(one, ran_seconds=ran, ends_within_seconds=None if limit is None else max(0.0, limit - ran))
                for one, began in self.live.values()
                for ran, limit in [(self.now - began, one.limit_seconds)]
            ]
            entry = self.policy.weights.entry_seconds
            usage = dict(self.usage)
            for one in occupants:
                usage[one.owner] = usage.get(one.owner, 0.0) + one.charge_per_second * max(0.0, entry - one.ran_seconds)
            found = plan(
                [job.candidate for job in self.waiting.values()],
                occupants,
                self.nodes,
                usage=usage,
                weights=self.weights,
                now=BEGIN + timedelta(seconds=self.now),
                policy=self.policy,
            )
            for decision in found.decisions:
                if decision.start:
                    self._start(decision.run_id, decision.nodes)
            for preemption in found.preemptions:
                self._preempt(preemption.run_id)
            if not found.preemptions:
                return

    def _start(self, run_id: UUID, nodes: tuple[str, ...]) -> None:
        job = self.waiting.pop(run_id)
        run = job.candidate
        job.first_start = self.now if job.first_start is None else job.first_start
        occupant = Occupant(
            run_id,
            run.owner,
            run.asked,
            nodes,
            sweep_id=run.sweep_id,
            tier=run.tier,
            priority=run.priority,
            preemptible=job.preemptible,
            limit_seconds=run.limit_seconds,
        )
        self.live[run_id] = (occupant, self.now)
        heapq.heappush(self._ends, (self.now + job.needs, run_id, self.now))

    def _preempt(self, run_id: UUID) -> None:
        _, began = self.live.pop(run_id)
        job = self.jobs[run_id]
        job.needs -= self.now - began
        job.preempted += 1
        self.waiting[run_id] = job

    def _end(self, run_id: UUID) -> None:
        self.live.pop(run_id)
        job = self.jobs[run_id]
        job.done_at = self.now
        self.refill(job)

    def _pass(self, at: float) -> None:
        passed = at - self.now
        for owner in self.usage:
            self.usage[owner] = decayed(
                self.usage[owner], seconds=passed, half_life_seconds=self.policy.half_life_seconds
            )
        for one, _ in self.live.values():
            self.usage[one.owner] += one.charge_per_second * passed
            self.took[one.owner] += one.charge_per_second * passed
        self.now = at
