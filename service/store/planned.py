"""The plan as readers see it: made anew when something has happened since it was last asked for, and shared by who asks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from uuid import UUID

from prolu.client.wire import NodeRead
from service.domain.planning import Candidate, Decision, Plan, Policy, Share, forecast
from service.store import estimates, nodes, situation
from service.store.db import Database
from service.store.situation import Situation

# Without any event, time alone moves scores.
_FRESH_SECONDS = 1.0
# The queue is played forward so far; who stands behind has no estimate.
_FORECAST_RUNS = 1_000


@dataclass(frozen=True)
class View:
    """A situation with its plan, and when each of the first runs would start."""

    situation: Situation
    plan: Plan
    starts: dict[UUID, float]
    """Seconds from the situation's `now`; without those that nobody can tell."""

    @cached_property
    def decisions(self) -> dict[UUID, Decision]:
        """By run."""
        return {decision.run_id: decision for decision in self.plan.decisions}

    @cached_property
    def candidates(self) -> dict[UUID, Candidate]:
        """By run."""
        return {run.run_id: run for run in self.situation.waiting}

    @cached_property
    def shares(self) -> dict[str, Share]:
        """By user."""
        return self.situation.shares()


class Planned:
    """Gives the present view. One thread makes it while others wait for it."""

    def __init__(self, database: Database, policy: Policy, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._policy = policy
        self._clock = clock
        self._lock = threading.Lock()
        self._view: View | None = None
        self._seen: tuple[tuple[int, int], list[NodeRead]] | None = None
        self._made_at = float("-inf")

    def view(self) -> View:
        """Give a view that knows everything that had happened when it was asked for."""
        with self._lock, self._database.read() as session:
            newest = (situation.last_event(session), nodes.nodes(session))
            fresh = self._clock() - self._made_at < _FRESH_SECONDS
            if self._view is None or newest != self._seen or not fresh:
                now = situation.read(session, self._policy)
                plan = now.plan(self._policy)
                waiting = {run.run_id: run for run in now.waiting}
                # Of a run that its user's limit, or a draining node, holds back nobody can tell when it starts.
                first = plan.decisions[:_FORECAST_RUNS]
                order = [waiting[one.run_id] for one in first if one.cause not in ("user_limit", "draining")]
                sweeps = {run.sweep_id for run in order} | {one.sweep_id for one in now.live}
                paces = estimates.paces_of(session, sweeps, now.attempts, now.now)
                seconds = estimates.durations(session, [run.run_id for run in order], paces)
                seconds |= estimates.remaining(now.attempts, paces, now.now)
                self._view = View(now, plan, forecast(order, now.live, now.nodes, seconds=seconds))
                self._seen, self._made_at = newest, self._clock()
            return self._view
