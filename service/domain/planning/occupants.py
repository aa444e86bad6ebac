"""The runs that attempts work on: where they sit, and how they come and go. Knows no order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from service.domain.planning.placement import Asked
from service.domain.planning.rooms import Rooms


@dataclass(frozen=True)
class Occupant:
    """A run that an attempt works on."""

    run_id: UUID
    owner: str
    asked: Asked
    nodes: tuple[str, ...] = ()
    """Of each rank, as far as they are known yet."""
    devices: tuple[tuple[str, ...], ...] = ()
    """The names of each rank's GPUs: as its worker says, and until it does as they were planned; empty where nobody knows."""
    sweep_id: UUID | None = None
    tier: int = 0
    priority: int = 50
    preemptible: bool = False
    ran_seconds: float = 0.0
    ends_within_seconds: float | None = None
    """When its time limit ends it; None if it has none."""
    stopping: bool = False
    """It was asked to end."""
    waiting_since: datetime | None = None
    """What its age in the queue would count from, if it went back."""
    max_concurrent: int | None = None
    """Of its sweep."""
    limit_seconds: float | None = None
    """Its time limit; None if it has none."""

    @property
    def charge_per_second(self) -> float:
        """What it takes of the cluster, all ranks together, in GPU-seconds per second."""
        return self.asked.charge_per_second


def settle(live: Sequence[Occupant], rooms: Rooms) -> None:
    """Take what the live runs use: first those whose devices are known, then the others in the order in which they came.

    Ray never moves a run, so a device that is known is not open to doubt, and of the others each found what the earlier left.
    """
    for one in sorted(live, key=_certain):
        settle_in(one, rooms)


def settle_in(occupant: Occupant, rooms: Rooms) -> None:
    """Take what a live run uses from its nodes, or from the first that have room where they are not known yet.

    A rank on a node that is gone takes nothing: its end is only not noticed yet.
    """
    for rank in range(occupant.asked.ranks):
        if rank < len(occupant.nodes):
            where = [name for name in occupant.nodes[rank : rank + 1] if name in rooms]
        else:
            where = [room.node.name for room in rooms if room.fits(occupant.asked)] or [
                room.node.name for room in rooms
            ]
        for name in where[:1]:
            rooms.take(name, occupant.asked, _devices(occupant, rank))


def leave(occupant: Occupant, rooms: Rooms) -> None:
    """Give back what a live run uses, when it will have ended; nothing of what is not known to be here."""
    for rank, name in enumerate(occupant.nodes):
        if name in rooms:
            rooms.give_back(name, occupant.asked, _devices(occupant, rank))


def _certain(occupant: Occupant) -> tuple[bool, bool, float, float, float, float]:
    asked = occupant.asked
    unknown = not occupant.devices and asked.gpus > 0
    return unknown, not occupant.nodes, -occupant.ran_seconds, -asked.gpus, -asked.cpus, -asked.memory_gb


def _devices(occupant: Occupant, rank: int) -> tuple[str, ...]:
    return occupant.devices[rank] if rank < len(occupant.devices) else ()
