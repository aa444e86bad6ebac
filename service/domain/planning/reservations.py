"""Room that is held for runs which do not fit yet, so that small runs cannot starve a large one.

Each of the first runs that wait gets the room where it will fit first, if every live run trains until its time limit: what was
held before it, for runs that stand before it, is taken as used from now on, so no two reservations count the same room
(conservative backfilling: Mu'alem and Feitelson, IEEE TPDS 12(6), 2001). A run that fits only where room is held already, for
however many go, is held the room that it will need after them, without a time.

Meanwhile whoever is gone in time may use what is held (backfill); asked are only those that hold room on the same nodes. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from service.domain.planning.held import Held
from service.domain.planning.occupants import Occupant, leave
from service.domain.planning.placement import Asked, Node, Place
from service.domain.planning.rooms import Rooms

# Held room whose time nobody can tell is lent for so long. The whole cluster would wait otherwise, since most runs have no limit.
# It delays nobody by more: once those without a limit have ended, all ends are known, and only who is gone by then passes.
_LENT_SECONDS = 900.0


class _Found(NamedTuple):
    """Room for a run."""

    places: list[Place]
    needed: float | None
    """When it is free, the grace of those that end aside; None where nobody can tell."""
    after_others: bool = False
    """It is free only after those had it that room is held for."""


class Reservations:
    """What is held, and until when. `bare` is what the live runs, and those that start, leave; it may shrink meanwhile."""

    def __init__(self, live: Iterable[Occupant], nodes: Sequence[Node], bare: Rooms, *, grace_seconds: float) -> None:
        self._nodes, self._bare, self._grace = nodes, bare, grace_seconds
        self._ends = sorted(live, key=_end)
        self._held = Held()
        self._needed: dict[str, float] = {}
        """Of each node where room is held: when whoever passes has to be gone at the latest."""
        self._untimed: set[str] = set()
        self.count = 0
        self.free = bare
        """What is left of `bare` without what is held; the very same as long as nothing is."""

    def pass_by(self, asked: Asked, limit_seconds: float) -> tuple[list[Place], str] | None:
        """Seat a run where it is gone before the room is needed that is held there, its grace to stop included, and say why."""
        gone, needed = limit_seconds + self._grace, self._needed
        places = self._bare.seat(asked, passable=lambda name: gone <= needed.get(name, gone))
        if places is None:
            return None
        names = dict.fromkeys(place.node for place in places)
        self.free.take_all((place.node for place in places), asked)
        held = ", ".join(name for name in names if name in needed)
        if self._untimed.isdisjoint(names):
            return places, f"ends before the room is needed that is held on {held}"
        soon = f"ends within {_LENT_SECONDS / 60:g} min"
        return places, f"{soon}, and nobody can tell when the room is needed that is held on {held}"

    def hold(self, asked: Asked) -> tuple[list[Place], float | None]:
        """Hold room, and say where, and within how many seconds it is free at the latest, if that is known.

        At the latest counts the grace that a live run has to stop; what passes meanwhile has to be gone without counting on it.
        """
        found = self._found(asked)
        if self.free is self._bare:
            self.free = self._bare.copy()
        self.free.take_all((place.node for place in found.places), asked)
        self._note(found)
        self._held.add(found.places, asked)
        self.count += 1
        return found.places, self._at_the_latest(found)

    def free_within(self, asked: Asked) -> float | None:
        """Say within how many seconds room would be free that is not held yet, if that is known; hold nothing."""
        return self._at_the_latest(self._found(asked))

    def _at_the_latest(self, found: _Found) -> float | None:
        return None if found.needed is None else found.needed + self._grace

    def _found(self, asked: Asked) -> _Found:
        rooms = self._bare.copy()
        fitting = {room.node.name: self._held.capacity(room, asked) for room in rooms}
        total = sum(fitting.values())
        for one in self._ends:
            leave(one, rooms)
            for name in {*one.nodes}:
                if name in rooms:
                    total -= fitting[name]
                    fitting[name] = self._held.capacity(rooms[name], asked)
                    total += fitting[name]
            if total >= asked.ranks:
                places = Rooms(self._held.beside(room) for room in rooms).seat(asked)
                if places is not None:
                    return _Found(places, _ends_within(one))
        if (places := rooms.seat(asked)) is not None:
            return _Found(places, None, after_others=True)
        return _Found(Rooms.of(self._nodes).seat(asked) or [], None)

    def _note(self, found: _Found) -> None:
        """Note when who passes there has to be gone."""
        names = {place.node for place in found.places}
        if found.needed is not None:
            latest = found.needed
        elif found.after_others:
            # They go first, and end later than whoever has to be gone before they begin.
            latest = min((self._needed[name] for name in names if name in self._needed), default=0.0)
            self._untimed |= names if names & self._untimed else set()
        else:
            # Nothing passes where a run may be asked at any time to make room.
            latest = 0.0 if self._may_be_stopped(names) else _LENT_SECONDS + self._grace
            self._untimed |= names
        for name in names:
            self._needed[name] = min(latest, self._needed.get(name, latest))

    def _may_be_stopped(self, names: set[str]) -> bool:
        unlimited = (one for one in self._ends if one.preemptible and _ends_within(one) is None)
        return any(not names.isdisjoint(one.nodes) for one in unlimited)


def _ends_within(one: Occupant) -> float | None:
    """When it ends at the latest, its grace aside, if that is known: who was asked to stop has no more than the grace."""
    return 0.0 if one.stopping else one.ends_within_seconds


def _end(one: Occupant) -> tuple[bool, float]:
    """The known ends first, as they come; then who has trained longest."""
    within = _ends_within(one)
    return (True, -one.ran_seconds) if within is None else (False, within)
