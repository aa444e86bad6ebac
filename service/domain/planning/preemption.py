"""Which live runs make room for a run that waits.

Only runs that their owners declared preemptible, that have trained for `min_run_seconds`, and that the waiting run would still
stand before if they waited as well. Between users of one tier the swap must also bring the cluster nearer to the shares: with

    r_u = charge of the live runs of u / target_share of u

the user who gives must, after the swap, still have at least as much as the user who receives (r_giver' >= r_receiver'). So each
preemption moves running charge from richer to poorer and never past equality: it strictly narrows the gap between the two, the
reverse swap is forbidden in the state it leads to, and no chain of them returns to where it began. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from service.domain.planning.held import Held
from service.domain.planning.occupants import Occupant, leave, settle_in
from service.domain.planning.placement import Asked, Place
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


class Stopping:
    """Finds whom to stop, for one waiting run after the other in the order of the queue.

    `bare` is the room that the live runs and those that start now leave. `weights` holds every active user.
    """

    def __init__(
        self,
        live: Sequence[Occupant],
        bare: Rooms,
        *,
        usage: Mapping[str, float],
        weights: Mapping[str, float],
        by: Weights,
        min_run_seconds: float,
    ) -> None:
        self._rooms = bare.copy()
        self._held = Held()
        standing = shares(usage, weights)
        self._targets = {user: share.target_share for user, share in standing.items()}
        self._has = dict.fromkeys(standing, 0.0)
        for one in live:
            if one.stopping:
                leave(one, self._rooms)
            else:
                self._has[one.owner] += one.charge_per_second
        known = {room.node.name for room in bare}
        self._willing = [
            (one.tier, by.priority * one.priority / 100 + by.fair * standing[one.owner].fair, one)
            for one in live
            if one.preemptible
            and not one.stopping
            and one.ran_seconds >= min_run_seconds
            and len(one.nodes) == one.asked.ranks
            and known.issuperset(one.nodes)
        ]
        # The last in the order go first, and of equals the youngest, which loses least.
        self._willing.sort(key=lambda one: (one[0], one[1], one[2].ran_seconds, one[2].run_id))

    def preemptions(self, waiting: Ranked[Beneficiary]) -> list[Preemption]:
        """Give the fewest live runs that have to stop so that it fits beside what is held; none where that is not enough.

        None either where enough are stopping already; from then on it counts as if it had the room.
        """
        run = waiting.run
        space = _Space(self._rooms, self._held, run.asked)
        if space.enough():
            self._has[run.owner] += run.charge_per_second
            return []
        holding = _Holding(dict(self._has), self._targets, run)
        chosen: list[Occupant] = []
        for tier, would_score, one in self._willing:
            if (tier, would_score) >= (run.tier, waiting.score.total):
                break
            if not holding.allows(one):
                continue
            holding.give(one)
            chosen.append(one)
            space.leaves(one)
            if space.enough():
                # Let those stay, the largest first, without whom it fits as well.
                largest_first = sorted(chosen, key=lambda one: one.charge_per_second, reverse=True)
                needless = {one.run_id for one in largest_first if space.may_stay(one)}
                reason = f"makes room for run {run.run_id} of {run.owner}, which stands before it in the queue"
                return [Preemption(one.run_id, run.run_id, reason) for one in chosen if one.run_id not in needless]
        return []

    def hold(self, places: Iterable[Place], asked: Asked) -> None:
        """Leave the room alone that is held in these places, whoever is asked for next."""
        self._held.add(places, asked)


class _Space:
    """Whether all ranks of a run have room beside what is held, while victims leave and come back."""

    def __init__(self, rooms: Rooms, held: Held, asked: Asked) -> None:
        self._rooms, self._held, self._asked = rooms.copy(), held, asked
        self._fitting = {room.node.name: held.capacity(room, asked) for room in rooms}
        self._total = sum(self._fitting.values())

    def enough(self) -> bool:
        return self._total >= self._asked.ranks

    def leaves(self, one: Occupant) -> None:
        leave(one, self._rooms)
        self._look(one.nodes)

    def may_stay(self, one: Occupant) -> bool:
        """Have one who left come back if there is still enough then."""
        before = [self._rooms[name].copy() for name in dict.fromkeys(one.nodes)]
        settle_in(one, self._rooms)
        self._look(one.nodes)
        if self.enough():
            return True
        for room in before:
            self._rooms.put(room)
        self._look(one.nodes)
        return False

    def _look(self, nodes: Iterable[str]) -> None:
        for name in dict.fromkeys(nodes):
            now = self._held.capacity(self._rooms[name], self._asked)
            self._total += now - self._fitting[name]
            self._fitting[name] = now


class _Holding:
    """What each user's live runs hold, while victims are chosen one by one."""

    def __init__(self, has: dict[str, float], targets: Mapping[str, float], run: Beneficiary) -> None:
        self._has, self._targets, self._run = has, targets, run

    def allows(self, victim: Occupant) -> bool:
        if victim.tier < self._run.tier:
            return True
        if victim.owner == self._run.owner:
            return False
        giver, receiver = victim.owner, self._run.owner
        left = (self._has[giver] - victim.charge_per_second) / self._targets[giver]
        return left >= (self._has[receiver] + self._run.charge_per_second) / self._targets[receiver]

    def give(self, victim: Occupant) -> None:
        self._has[victim.owner] -= victim.charge_per_second
