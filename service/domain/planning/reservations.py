"""Room that is held for runs which do not fit yet, so that small runs cannot starve a large one.

Each of the first runs that wait gets the room where it will fit first, if every live run trains until its time limit: what was
held before it, for runs that stand before it, is taken as used from now on, so no two reservations count the same room
(conservative backfilling: Mu'alem and Feitelson, IEEE TPDS 12(6), 2001). A run that fits only where room is held already, for
however many go, is held the room that it will need after them, without a time. Pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from service.domain.planning.occupants import Occupant, leave
from service.domain.planning.placement import Asked, Node, Place, Room
from service.domain.planning.rooms import Rooms


class Reservations:
    """What is held, and until when. `bare` is what the live runs, and those that start, leave; it may shrink meanwhile."""

    def __init__(self, live: Iterable[Occupant], nodes: Sequence[Node], bare: Rooms, *, grace_seconds: float) -> None:
        self._nodes, self._bare, self._grace = nodes, bare, grace_seconds
        self._ends = sorted(live, key=_end)
        self._held: dict[str, list[Asked]] = defaultdict(list)
        self._needed: list[float | None] = []
        self.count = 0
        self.free = bare
        """What is left of `bare` without what is held; the very same as long as nothing is."""

    def let_pass(self, limit_seconds: float | None) -> bool:
        """Whether a run with that time limit is gone before any room that is held is needed, its grace to stop included."""
        if limit_seconds is None or not self.count:
            return False
        gone = limit_seconds + self._grace
        return all(needed is not None and gone <= needed for needed in self._needed)

    def hold(self, asked: Asked) -> tuple[list[Place], float | None]:
        """Hold room, and say where, and within how many seconds it is free at the latest, if that is known.

        At the latest counts the grace that a live run has to stop; what passes meanwhile has to be gone without counting on it.
        """
        places, needed = self._found(asked)
        if self.free is self._bare:
            self.free = self._bare.copy()
        self.free.take_all((place.node for place in places), asked)
        for place in places:
            self._held[place.node].append(asked)
        self.count += 1
        return places, None if needed is None else needed + self._grace

    def _found(self, asked: Asked) -> tuple[list[Place], float | None]:
        """The place, and when it is needed."""
        rooms = self._bare.copy()
        fitting = {room.node.name: self._capacity(room, asked) for room in rooms}
        total = sum(fitting.values())
        for one in self._ends:
            leave(one, rooms)
            for name in {*one.nodes}:
                if name in rooms:
                    total -= fitting[name]
                    fitting[name] = self._capacity(rooms[name], asked)
                    total += fitting[name]
            if total >= asked.ranks:
                places = Rooms(self._beside(room) for room in rooms).seat(asked)
                if places is not None:
                    self._needed.append(one.ends_within_seconds)
                    return places, one.ends_within_seconds
        if (places := rooms.seat(asked)) is not None:
            # What is held for others goes first, and they end later than whoever has to be gone before they begin.
            return places, None
        self._needed.append(None)
        return Rooms.of(self._nodes).seat(asked) or [], None

    def _capacity(self, room: Room, asked: Asked) -> int:
        return 0 if room.node.draining else self._beside(room).capacity(asked, asked.ranks)

    def _beside(self, room: Room) -> Room:
        """What is left of a room beside what is held there."""
        if room.node.name not in self._held:
            return room
        rest = room.copy()
        for asked in self._held[room.node.name]:
            rest.take(asked)
        return rest


def _end(one: Occupant) -> tuple[bool, float, bool, float]:
    """The known ends first, as they come; then who is asked to stop, and who has trained longest."""
    if one.ends_within_seconds is not None:
        return False, one.ends_within_seconds, False, 0.0
    return True, 0.0, not one.stopping, -one.ran_seconds
