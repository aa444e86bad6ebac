"""The runs that attempts work on: where they sit, and how they come and go. Knows no order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from service.domain.planning.placement import Asked, Room
from service.domain.planning.shares import charge_per_second


@dataclass(frozen=True)
class Occupant:
    """A run that an attempt works on."""

    run_id: UUID
    owner: str
    asked: Asked
    nodes: tuple[str, ...] = ()
    """Of each rank, as far as they are known yet."""
    sweep_id: UUID | None = None
    tier: int = 0
    priority: int = 50
    preemptible: bool = False
    ran_seconds: float = 0.0
    ends_within_seconds: float | None = None
    """When its time limit ends it; None if it has none."""
    stopping: bool = False
    """It was asked to end."""

    @property
    def charge_per_second(self) -> float:
        """What it takes of the cluster, all ranks together, in GPU-seconds per second."""
        return self.asked.ranks * charge_per_second(cpus=self.asked.cpus, gpus=self.asked.gpus)


def settle_in(occupant: Occupant, rooms: Sequence[Room]) -> None:
    """Take what a live run uses from its nodes, or from the first that have room where they are not known yet."""
    for rank in range(occupant.asked.ranks):
        for room in _where(occupant, rank, rooms, [room for room in rooms if room.fits(occupant.asked)]):
            room.take(occupant.asked)


def leave(occupant: Occupant, rooms: Sequence[Room]) -> None:
    """Give back what a live run uses, when it will have ended."""
    for rank in range(occupant.asked.ranks):
        for room in _where(occupant, rank, rooms, []):
            room.give_back(occupant.asked)


def _where(occupant: Occupant, rank: int, rooms: Sequence[Room], otherwise: list[Room]) -> list[Room]:
    name = occupant.nodes[rank] if rank < len(occupant.nodes) else None
    named = [room for room in rooms if room.node.name == name]
    return (named or otherwise or list(rooms))[:1]
