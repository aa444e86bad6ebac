"""When each waiting run would start: the queue played forward, if runs take as long as others like them took.

Strictly in order, without backfill and with nobody submitting anything more: an estimate, and mostly a late one. A run whose
time nobody can tell never ends here, so what would wait for its room has no estimate. Pure.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import count
from uuid import UUID

from service.domain.planning.occupants import Occupant, leave, settle
from service.domain.planning.placement import Asked, Node
from service.domain.planning.plan import Candidate
from service.domain.planning.rooms import Rooms, empty


def forecast(
    order: Sequence[Candidate],
    live: Sequence[Occupant],
    nodes: Sequence[Node],
    *,
    seconds: Mapping[UUID, float],
) -> dict[UUID, float]:
    """Give the seconds from now until each run of `order`, the queue's, starts; those that nobody can tell are left out.

    `seconds` says how long a waiting run will take, and how long a live one still will, as far as that is known.
    """
    return _Play(live, nodes, seconds).through(order)


class _Play:
    """The rooms as time goes on."""

    def __init__(self, live: Sequence[Occupant], nodes: Sequence[Node], seconds: Mapping[UUID, float]) -> None:
        self._seconds = seconds
        self._rooms, self._empty = Rooms.of(nodes), empty(nodes)
        self._now = 0.0
        self._ends: list[tuple[float, int, Occupant]] = []
        self._ticket = count()
        self._training: dict[UUID | None, list[float]] = defaultdict(list)
        self._possible: dict[Asked, bool] = {}
        settle(live, self._rooms)
        for one in live:
            self._will_end(one)

    def through(self, order: Sequence[Candidate]) -> dict[UUID, float]:
        starts: dict[UUID, float] = {}
        for run in order:
            if run.asked not in self._possible:
                self._possible[run.asked] = self._empty.hold(run.asked)
            if not self._possible[run.asked]:
                continue
            slot = self._slot(run)
            if slot is None:
                continue
            if slot > self._now:
                # Its sweep holds it back, and it holds back nobody: it is given no room of its own here.
                starts[run.run_id] = slot
                self._take_slot(run, slot)
                continue
            if not self._make_room(run):
                break
            starts[run.run_id] = self._now
            self._take_slot(run, self._now)
        return starts

    def _make_room(self, run: Candidate) -> bool:
        """Let time pass until it fits, and seat it. False where nothing ends any more."""
        while (places := self._rooms.seat(run.asked)) is None:
            if not self._ends:
                return False
            self._now, _, ended = heapq.heappop(self._ends)
            leave(ended, self._rooms)
        nodes, devices = zip(*places, strict=True)
        self._will_end(Occupant(run.run_id, run.owner, run.asked, nodes, devices))
        return True

    def _will_end(self, one: Occupant) -> None:
        lasts = self._seconds.get(one.run_id)
        if lasts is not None:
            heapq.heappush(self._ends, (self._now + lasts, next(self._ticket), one))
        if one.sweep_id is not None:
            heapq.heappush(self._training[one.sweep_id], self._now + (float("inf") if lasts is None else lasts))

    def _slot(self, run: Candidate) -> float | None:
        """When its sweep lets it start; None where nobody can tell."""
        if run.sweep_id is None or run.max_concurrent is None:
            return self._now
        training = self._training[run.sweep_id]
        while training and training[0] <= self._now:
            heapq.heappop(training)
        if len(training) < run.max_concurrent:
            return self._now
        first = training[0]
        return None if first == float("inf") else first

    def _take_slot(self, run: Candidate, at: float) -> None:
        if run.sweep_id is None or run.max_concurrent is None:
            return
        training = self._training[run.sweep_id]
        if at > self._now:
            heapq.heappop(training)
        heapq.heappush(training, at + self._seconds.get(run.run_id, float("inf")))
