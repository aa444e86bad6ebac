"""Which waiting runs start now: a pure plan with a reason for each.

First in, first out by priority. A run that waits for room keeps its place: what it asks is set aside on the node
that could hold it, and those behind it get only what remains, so small runs fill gaps without starving large ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from prolu.client.wire import NodeRead
from prolu.spec import ResourcesSpec


@dataclass(frozen=True)
class Candidate:
    """A run that waits, as far as the plan needs to know it."""

    run_id: UUID
    sweep_id: UUID | None
    owner: str
    priority: int
    created_at: datetime
    resources: ResourcesSpec
    max_concurrent: int | None


class Occupant(Protocol):
    """A run that an attempt works on."""

    @property
    def sweep_id(self) -> UUID | None: ...

    @property
    def resources(self) -> ResourcesSpec: ...

    @property
    def node(self) -> str | None: ...


@dataclass(frozen=True)
class Decision:
    """Whether a waiting run starts now, and why."""

    run_id: UUID
    start: bool
    reason: str


@dataclass
class _Room:
    """What is left of a node."""

    node: NodeRead
    cpus: float
    gpus: float
    memory_gb: float

    def fits(self, asked: ResourcesSpec) -> bool:
        return self.cpus >= asked.cpus and self.gpus >= asked.gpus and self.memory_gb >= asked.memory_gb

    def take(self, asked: ResourcesSpec) -> None:
        self.cpus -= asked.cpus
        self.gpus -= asked.gpus
        self.memory_gb -= asked.memory_gb


def plan(candidates: Sequence[Candidate], live: Sequence[Occupant], nodes: Sequence[NodeRead]) -> list[Decision]:
    """Decide for each candidate, in the order given, which is the order of the queue."""
    rooms = [_Room(node, node.cpus, node.gpus, node.memory_gb) for node in nodes]
    for occupant in sorted(live, key=_size, reverse=True):
        _seat(occupant, rooms)
    training = Counter(occupant.sweep_id for occupant in live)
    decisions = []
    for candidate in candidates:
        decision = _decide(candidate, rooms, training)
        if decision.start:
            training[candidate.sweep_id] += 1
        decisions.append(decision)
    return decisions


def fits_some_node(asked: ResourcesSpec, nodes: Sequence[NodeRead]) -> bool:
    """Whether a node could hold the run if it were empty."""
    return any(_Room(node, node.cpus, node.gpus, node.memory_gb).fits(asked) for node in nodes)


def _decide(candidate: Candidate, rooms: list[_Room], training: Counter[UUID | None]) -> Decision:
    asked = candidate.resources
    limit = candidate.max_concurrent
    if limit is not None and training[candidate.sweep_id] >= limit:
        return Decision(
            candidate.run_id, False, f"its sweep trains {limit} runs already, as many as max_concurrent allows"
        )
    if not rooms:
        return Decision(candidate.run_id, False, "no node of the cluster is known yet")
    able = [room for room in rooms if fits_some_node(asked, [room.node])]
    if not able:
        return Decision(candidate.run_id, False, f"no node is large enough for {in_words(asked)}")
    for room in able:
        if room.fits(asked):
            room.take(asked)
            return Decision(candidate.run_id, True, f"{in_words(asked)} are free on {room.node.name}")
    roomiest = max(able, key=lambda room: (room.gpus - asked.gpus, room.cpus - asked.cpus, room.memory_gb))
    roomiest.take(asked)
    return Decision(candidate.run_id, False, f"waits until {in_words(asked)} are free on one node")


def _seat(occupant: Occupant, rooms: list[_Room]) -> None:
    """Take what a live run uses from its node, or from the first that could hold it if the node is not known yet."""
    named = [room for room in rooms if room.node.name == occupant.node]
    fitting = [room for room in rooms if room.fits(occupant.resources)]
    for room in (named or fitting or rooms)[:1]:
        room.take(occupant.resources)


def _size(occupant: Occupant) -> tuple[float, int, float]:
    return occupant.resources.gpus, occupant.resources.cpus, occupant.resources.memory_gb


def in_words(asked: ResourcesSpec) -> str:
    """Write resources for people: `1 CPU, 0.5 GPU and 2 GiB`."""
    cpus = f"{asked.cpus} CPU{'s' if asked.cpus != 1 else ''}"
    gpus = f", {asked.gpus:g} GPU" if asked.gpus else ""
    return f"{cpus}{gpus} and {asked.memory_gb:g} GiB"
