"""What is held on each node for runs that wait, and what is left of a room beside it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from service.domain.planning.placement import Asked, Place, Room


class Held:
    """Requests by node, one for each rank that is held room there."""

    def __init__(self) -> None:
        self._there: dict[str, list[Asked]] = defaultdict(list)

    def add(self, places: Iterable[Place], asked: Asked) -> None:
        """Hold room for a rank in each of the places."""
        for place in places:
            self._there[place.node].append(asked)

    def capacity(self, room: Room, asked: Asked) -> int:
        """How many ranks have room beside what is held, counted up to as many as it asks for; none where nothing starts."""
        return 0 if room.node.draining else self.beside(room).capacity(asked, asked.ranks)

    def beside(self, room: Room) -> Room:
        """What is left of a room beside what is held there: the very same where nothing is."""
        if room.node.name not in self._there:
            return room
        rest = room.copy()
        for asked in self._there[room.node.name]:
            rest.take(asked)
        return rest
