"""Which waiting runs start now, on which nodes, and why the others wait.

The runs are taken in the order of the queue. One that does not fit yet gets a reservation: the room that it will need is held
for it, so that small runs cannot starve a large one. What is held may still be used by a run whose time limit ends before the
reservation there begins (EASY backfill: Lifka, "The ANL/IBM SP scheduling system", JSSPP 1995). As long as nothing is held,
whatever fits starts. Pure: reads neither clock nor database.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import NamedTuple
from uuid import UUID

from prolu.client.wire import Cause
from service.domain.planning.limits import Limits
from service.domain.planning.occupants import Occupant, settle
from service.domain.planning.placement import Asked, Node, Place
from service.domain.planning.preemption import Preemption, Stopping
from service.domain.planning.ranking import Line, Ranked, Score, Weights, ranked
from service.domain.planning.reservations import Reservations
from service.domain.planning.rooms import Rooms, empty
from service.domain.retries import AVOID_NODE_SECONDS

# So many runs are tried, by a plan as if others had gone, before none is stopped for anybody.
_SECOND_PASSES = 3


@dataclass(frozen=True)
class Policy:
    """What an operator may choose of the plan."""

    weights: Weights = field(default_factory=Weights)
    max_gpus_per_user: float | None = None
    """GPUs that one user's live runs may hold together; None for no limit."""
    max_reservations: int = 16
    """Runs that room is held for, each beside what is held for those before it; those behind them wait without."""
    half_life_seconds: float = 7 * 86_400.0
    """After so long, a past usage counts half."""
    min_run_seconds: float = 600.0
    """What an attempt may train before it can be preempted."""
    stop_grace_seconds: float = 30.0
    """What an attempt may take to stop once it is asked to, at its time limit for one."""


@dataclass(frozen=True)
class Candidate:
    """A run that waits, as far as the plan needs to know it."""

    run_id: UUID
    owner: str
    waiting_since: datetime
    asked: Asked
    sweep_id: UUID | None = None
    tier: int = 0
    priority: int = 50
    max_concurrent: int | None = None
    """Of its sweep."""
    limit_seconds: float | None = None
    """Its time limit; None if it has none."""

    @property
    def charge_per_second(self) -> float:
        """What it takes of the cluster, all ranks together, in GPU-seconds per second."""
        return self.asked.charge_per_second


class Decision(NamedTuple):
    """What becomes of one waiting run, and why."""

    run_id: UUID
    place: int
    """In the order of the queue, from 1."""
    score: Score
    cause: Cause
    reason: str
    nodes: tuple[str, ...] = ()
    """Where each rank starts; empty for a run that waits."""
    devices: tuple[tuple[str, ...], ...] = ()
    """The GPUs on which Ray will put each rank; empty for a run that waits or asks for none."""
    starts_within_seconds: float | None = None
    """For a run that room is held for: when it starts at the latest, if every live run keeps to a time limit and nobody comes
    before it; None where nobody can tell."""

    @property
    def start(self) -> bool:
        return self.cause in ("starts", "backfills")


@dataclass(frozen=True)
class Plan:
    """Decisions in the order of the queue, and the live runs that have to make room."""

    decisions: list[Decision]
    preemptions: list[Preemption] = field(default_factory=list)


def plan(
    waiting: Sequence[Candidate],
    live: Sequence[Occupant],
    nodes: Sequence[Node],
    *,
    usage: Mapping[str, float],
    weights: Mapping[str, float],
    now: datetime,
    policy: Policy,
) -> Plan:
    """Decide for every run that waits. `usage` (decayed GPU-seconds) and `weights` (above 0) are by user; both may lack users."""
    users = {one.owner for one in waiting} | {one.owner for one in live}
    active = {user: weights.get(user, 1.0) for user in sorted(users)}
    line = Line(waiting, now=now, by=policy.weights)
    in_order = partial(ranked, usage=usage, weights=active, by=policy.weights)
    board = _Board(live, nodes, policy)
    decisions: list[Decision] = []
    for place, one in enumerate(in_order(line), start=1):
        decisions.append(board.decide(one, place))
    if not board.awaiting:
        return Plan(decisions)
    stopping = Stopping(
        live, board.bare, usage=usage, weights=active, by=policy.weights, min_run_seconds=policy.min_run_seconds
    )

    def gets_it(waiting: UUID, stopped: set[UUID]) -> bool:
        """Whether it would start if they had gone, and none of them before it."""
        then = line.joined_by(_waiting_again(one, now) for one in live if one.run_id in stopped)
        board = _Board([one for one in live if one.run_id not in stopped], nodes, policy)
        for place, one in enumerate(in_order(then), start=1):
            decision = board.decide(one, place)
            if one.run.run_id == waiting:
                return decision.start
            if decision.start and one.run.run_id in stopped:
                return False
        return False

    # The first whom it helps: a run for which nobody may be stopped, or not enough, keeps no other from help.
    passes_left = _SECOND_PASSES
    for awaiting in board.awaiting:
        making_room = stopping.preemptions(awaiting.one)
        if making_room:
            # Somebody else may come first once they have gone: one of them, by its age, or a run that a limit had held back.
            if gets_it(awaiting.one.run.run_id, {preemption.run_id for preemption in making_room}):
                return Plan(decisions, making_room)
            passes_left -= 1
            if not passes_left:
                break
        stopping.hold(awaiting.places, awaiting.one.run.asked)
    return Plan(decisions)


def _waiting_again(one: Occupant, now: datetime) -> Candidate:
    """A live run as it would wait if it were stopped."""
    return Candidate(
        one.run_id,
        one.owner,
        one.waiting_since or now,
        one.asked,
        one.sweep_id,
        one.tier,
        one.priority,
        one.max_concurrent,
        one.limit_seconds,
    )


class _Awaiting(NamedTuple):
    """A run that room is held for, and where."""

    one: Ranked[Candidate]
    places: list[Place]


@dataclass(slots=True)
class _Kind:
    """What the plan has found out about the runs that ask for the same."""

    never: tuple[Cause, str] | None = None
    """Why none of them can start, whoever ends."""
    behind: str | None = None
    """Why the next of them waits, once one did."""
    elsewhere: bool | None = None
    """Whether the next of them has room in time that is on none of the nodes that they avoid; None until it is asked."""
    stuck_seconds: float = math.inf
    """With a time limit as long as that none of them passes: no room grows within a plan, and what is held bars ever more."""


class _Board:
    """The rooms while the plan goes through the queue."""

    def __init__(self, live: Sequence[Occupant], nodes: Sequence[Node], policy: Policy) -> None:
        self._nodes, self._policy = nodes, policy
        self.bare = Rooms.of(nodes)
        """What the live runs, and those that start, leave."""
        settle(live, self.bare)
        self._held = Reservations(live, nodes, self.bare, grace_seconds=policy.stop_grace_seconds)
        self.awaiting: list[_Awaiting] = []
        self._kinds: dict[Asked, _Kind] = {}
        self._empty = empty(nodes)
        self._staying = Rooms.of(nodes) if any(node.draining for node in nodes) else self._empty
        self._limits = Limits(live, max_gpus_per_user=policy.max_gpus_per_user)

    def decide(self, one: Ranked[Candidate], place: int) -> Decision:
        """Start it, hold room for it, or say why it waits."""
        run = one.run
        asked, aside = self._where_it_may(run.asked)

        def so(cause: Cause, reason: str, places: Sequence[Place] = (), within: float | None = None) -> Decision:
            devices = tuple(place.devices for place in places) if asked.gpus else ()
            nodes = tuple(place.node for place in places)
            return Decision(run.run_id, place, one.score, cause, reason, nodes, devices, within)

        kind = self._kinds.get(asked) or self._kind(asked)
        if kind.never is not None:
            return so(*kind.never)
        if (refused := self._limits.refuse(run)) is not None:
            return so(*refused)
        if kind.behind is None and (places := self._seat(asked)) is not None:
            self._limits.starts(run)
            return so("starts", f"{asked.in_words()} are free on {_names(places)}{aside}", places)
        if self._held.count and (limit := run.limit_seconds) is not None and limit < kind.stuck_seconds:
            if (passing := self._held.pass_by(asked, limit)) is not None:
                self._limits.starts(run)
                return so("backfills", passing[1], passing[0])
            kind.stuck_seconds = limit
        if kind.behind is not None:
            return Decision(run.run_id, place, one.score, "behind", kind.behind)
        kind.elsewhere = None
        kind.behind = f"waits behind the run in place {place}, which asks for the same"
        reason = f"waits until {asked.in_words()} are free on one node"
        if asked.ranks > 1:
            reason = f"waits until {asked.in_words()} are free at once"
        if self._held.count >= self._policy.max_reservations:
            return so("behind", reason)
        then, within = self._held.hold(asked)
        self._limits.awaits(run)
        self.awaiting.append(_Awaiting(one._replace(run=replace(run, asked=asked)), then))
        return so("room", f"{reason}; room is held for it on {_names(then)}", within=within)

    def _where_it_may(self, asked: Asked) -> tuple[Asked, str]:
        """Let it avoid nodes only while there is another for it soon, rather than leave them idle; and say where it may not."""
        if not asked.avoided:
            return asked, ""
        kind = self._kinds.get(asked) or self._kind(asked)
        if kind.never is None:
            if self._held.free.hold(asked):
                return asked, ""
            if kind.elsewhere is None:
                within = self._held.free_within(asked)
                kind.elsewhere = within is not None and within <= AVOID_NODE_SECONDS
            if kind.elsewhere:
                return asked, ""
        avoided = ", ".join(asked.avoided)
        soon = f"no other node is known to be free within {AVOID_NODE_SECONDS / 60:g} min"
        return replace(asked, avoided=()), f"; it did not come up on {avoided} before, and {soon}"

    def _kind(self, asked: Asked) -> _Kind:
        kind = self._kinds[asked] = _Kind()
        if not self._nodes:
            kind.never = "no_nodes", "no node of the cluster is known yet"
        elif not self._empty.hold(asked):
            kind.never = "too_large", f"no node is large enough for {asked.in_words()}"
        elif self._staying is not self._empty and not self._staying.hold(asked):
            kind.never = "draining", f"only nodes that are draining could hold {asked.in_words()}"
        return kind

    def _seat(self, asked: Asked) -> list[Place] | None:
        """Room that is not held, and that Ray finds: the device is its choice, and it knows nothing of what is held."""
        free = self._held.free.seat(asked)
        if free is None or self._held.free is self.bare:
            return free
        places = self.bare.seat_there((place.node for place in free), asked)
        if places is None:
            self._held.free.clear(free, asked)
        return places


def _names(places: Sequence[Place]) -> str:
    return ", ".join(dict.fromkeys(place.node for place in places))
