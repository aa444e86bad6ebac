"""The rooms of all nodes together: which of them a run gets, found in the order in which rooms are filled.

A plan asks this thousands of times, so the rooms stand in that order all the time, and one that changes is put into its
place before the next question. Knows no order of runs and no users.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Self

from service.domain.planning.placement import Asked, Node, Place, Room

# What sums of shares of GPUs may be wrong by; whether a room fits is then seen exactly.
_ROUNDING = 1e-6


class Rooms:
    """What is left of each node. A rank goes to the fullest that fits, so that large rooms stay whole for large runs."""

    def __init__(self, rooms: Iterable[Room]) -> None:
        self._named = {room.node.name: room for room in rooms}
        self._standing = {name: _standing(room) for name, room in self._named.items() if not room.node.draining}
        """Where each room stands that takes runs in; of those that changed, where they stood before."""
        self._order = sorted(self._standing.values())
        self._changed: set[str] = set()

    @classmethod
    def of(cls, nodes: Iterable[Node]) -> Self:
        """The rooms of empty nodes."""
        return cls(Room.of(node) for node in nodes)

    def copy(self) -> Self:
        """Rooms of their own, with as much left."""
        return type(self)(room.copy() for room in self._named.values())

    def __iter__(self) -> Iterator[Room]:
        return iter(self._named.values())

    def __contains__(self, name: object) -> bool:
        return name in self._named

    def __getitem__(self, name: str) -> Room:
        """The room of a node, to look at. Raises KeyError."""
        return self._named[name]

    def put(self, room: Room) -> None:
        """Let a room take the place of its node's."""
        self._changed.add(room.node.name)
        self._named[room.node.name] = room

    def take(self, name: str, asked: Asked, devices: Sequence[str] = ()) -> tuple[str, ...]:
        """Seat one rank on a node (see `Room.take`), whether it fits or not, and return the names of its devices."""
        self._changed.add(name)
        return self._named[name].take(asked, devices)

    def give_back(self, name: str, asked: Asked, devices: Sequence[str] = ()) -> None:
        """Undo one `take`."""
        self._changed.add(name)
        self._named[name].give_back(asked, devices)

    def take_all(self, nodes: Iterable[str], asked: Asked) -> None:
        """Take what a rank needs of each of the named nodes, or as much of it as there is."""
        for name in nodes:
            self.take(name, asked)

    def clear(self, places: Iterable[Place], asked: Asked) -> None:
        """Give back what was taken for a rank in each of the places."""
        for place in places:
            self.give_back(place.node, asked, place.devices)

    def seat(self, asked: Asked, passable: Callable[[str], bool] | None = None) -> list[Place] | None:
        """Take room for all ranks and return the place of each, or take nothing and return None.

        Ranks are packed: each goes to the node that already has one of them, else to the fullest that fits. Where `passable`
        is given, only to nodes whose names it says yes to.
        """
        found = self._filled(asked, passable)
        if found is None:
            return None
        places = []
        for room, ranks in found:
            places += [Place(room.node.name, self.take(room.node.name, asked)) for _ in range(ranks)]
        return places

    def seat_there(self, nodes: Iterable[str], asked: Asked) -> list[Place] | None:
        """Take room for a rank on each of the named nodes and return the places, or take nothing and return None."""
        places: list[Place] = []
        for name in nodes:
            if not self._named[name].fits(asked):
                self.clear(places, asked)
                return None
            places.append(Place(name, self.take(name, asked)))
        return places

    def hold(self, asked: Asked) -> bool:
        """Whether there is room for all ranks."""
        return self._filled(asked) is not None

    def _filled(self, asked: Asked, passable: Callable[[str], bool] | None = None) -> list[tuple[Room, int]] | None:
        """The rooms that its ranks would get, and how many each; None if they do not fit all."""
        fitting = self._fitting(asked)
        if passable is not None:
            fitting = (room for room in fitting if passable(room.node.name))
        if asked.ranks == 1:
            first = next(fitting, None)
            return None if first is None else [(first, 1)]
        found: list[tuple[Room, int]] = []
        left = asked.ranks
        for room in fitting:
            ranks = room.capacity(asked, left)
            found.append((room, ranks))
            left -= ranks
            if not left:
                return found
        return None

    def _fitting(self, asked: Asked) -> Iterator[Room]:
        """The rooms with room for one rank, fullest first."""
        self._put_in_order()
        order, cpus = self._order, asked.cpus - _ROUNDING
        for at in range(bisect_left(order, (asked.gpus - _ROUNDING * (1 + asked.gpus),)), len(order)):
            _, cores, name = order[at]
            if cores >= cpus and (room := self._named[name]).fits(asked):
                yield room

    def _put_in_order(self) -> None:
        for name in self._changed & self._standing.keys():
            del self._order[bisect_left(self._order, self._standing[name])]
            self._standing[name] = _standing(self._named[name])
            insort(self._order, self._standing[name])
        self._changed.clear()


def _standing(room: Room) -> tuple[float, float, str]:
    return sum(room.devices), room.cpus, room.node.name


def empty(nodes: Iterable[Node]) -> Rooms:
    """The rooms of the nodes if nobody were on them, and none were draining: what does not fit there never fits."""
    return Rooms.of(replace(node, draining=False) for node in nodes)


def could_ever_fit(asked: Asked, nodes: Iterable[Node]) -> bool:
    """Whether the nodes could hold all ranks if they were empty and none were draining."""
    return empty(nodes).hold(asked)
