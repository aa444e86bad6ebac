"""Which live runs make room for the run that waits first.

Only runs that their owners declared preemptible, that have trained for `min_run_seconds`, and that the waiting run would still
stand before if they waited as well. Between users of one tier the swap must also bring the cluster nearer to the shares: with

    r_u = charge of the live runs of u / target_share of u

the user who gives must, after the swap, still have at least as much as the user who receives (r_giver' >= r_receiver'). So each
preemption moves running charge from richer to poorer and never past equality: it strictly narrows the gap between the two, the
reverse swap is forbidden in the state it leads to, and no chain of them returns to where it began. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from service.domain.planning.occupants import Occupant, leave, settle_in
from service.domain.planning.placement import Asked
from service.domain.planning.ranking import Ranked, Waiting, Weights
from service.domain.planning.rooms import Rooms
from service.domain.planning.shares import shares


class Beneficiary(Waiting, Protocol):
    """A run that waits for room."""

    @property
    def asked(self) -> Asked: ...


@dataclass(frozen=True)
class Preemption:
    """A live run that has to stop, and for whom."""

    run_id: UUID
    beneficiary: UUID
    reason: str


def preemptions(
    first: Ranked[Beneficiary],
    live: Sequence[Occupant],
    bare: Rooms,
    *,
    usage: Mapping[str, float],
    weights: Mapping[str, float],
    by: Weights,
    min_run_seconds: float,
) -> list[Preemption]:
    """Give the fewest live runs that have to stop so that `first` fits; none where that is not enough, or already under way.

    `bare` is the room that the live runs and those that start now leave. `weights` holds every active user.
    """
    rooms = bare.copy()
    for one in live:
        if one.stopping:
            leave(one, rooms)
    if rooms.hold(first.run.asked):
        return []  # room is being made already
    standing = shares(usage, weights)
    would_score = {one.run_id: by.priority * one.priority / 100 + by.fair * standing[one.owner].fair for one in live}
    known = {room.node.name for room in rooms}
    willing = [
        one
        for one in live
        if one.preemptible
        and not one.stopping
        and one.ran_seconds >= min_run_seconds
        and known.issuperset(one.nodes)
        and (-one.tier, -would_score[one.run_id]) > (-first.run.tier, -first.score.total)
    ]
    # The last in the order go first, and of equals the youngest, which loses least.
    willing.sort(key=lambda one: (one.tier, would_score[one.run_id], one.ran_seconds, one.run_id))
    holding = _Holding(live, {user: share.target_share for user, share in standing.items()}, first.run)
    chosen: list[Occupant] = []
    for one in willing:
        if not holding.allows(one):
            continue
        holding.give(one)
        chosen.append(one)
        leave(one, rooms)
        if rooms.hold(first.run.asked):
            needed = _without_the_needless(chosen, rooms, first.run.asked)
            reason = f"makes room for run {first.run.run_id} of {first.run.owner}, which stands before it in the queue"
            return [Preemption(victim.run_id, first.run.run_id, reason) for victim in needed]
    return []


class _Holding:
    """What each user's live runs hold, while victims are chosen one by one."""

    def __init__(self, live: Sequence[Occupant], targets: Mapping[str, float], run: Beneficiary) -> None:
        self._targets, self._run = targets, run
        self._held = dict.fromkeys(targets, 0.0)
        for one in live:
            if not one.stopping:
                self._held[one.owner] += one.charge_per_second

    def allows(self, victim: Occupant) -> bool:
        if victim.tier < self._run.tier:
            return True
        if victim.owner == self._run.owner:
            return False
        giver, receiver = victim.owner, self._run.owner
        left = (self._held[giver] - victim.charge_per_second) / self._targets[giver]
        return left >= (self._held[receiver] + self._run.charge_per_second) / self._targets[receiver]

    def give(self, victim: Occupant) -> None:
        self._held[victim.owner] -= victim.charge_per_second


def _without_the_needless(chosen: Sequence[Occupant], rooms: Rooms, asked: Asked) -> list[Occupant]:
    """Let those stay, the largest first, without whom the run fits as well. `rooms` is without all of `chosen`."""
    needed = list(chosen)
    for one in sorted(chosen, key=lambda one: one.charge_per_second, reverse=True):
        tried = rooms.copy()
        settle_in(one, tried)
        if tried.hold(asked):
            needed.remove(one)
            rooms = tried
    return needed
