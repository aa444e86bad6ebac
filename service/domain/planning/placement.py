"""Room on nodes: who sits where, what is held for whom, and whether a run of one or more ranks fits.

A run asks for `ranks` equal parts, each on one node; several may share a node. GPUs are counted one by one, as Ray hands them
out: a share of a GPU lies on one device, and a whole GPU is a device that nobody else uses. Knows no order and no users.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Self

from service.domain.planning.shares import charge_per_second

_EPSILON = 1e-9  # shares of a GPU are hundredths, which floats add up only nearly


@dataclass(frozen=True)
class Asked:
    """What each of a run's ranks takes of one node."""

    cpus: float
    gpus: float = 0.0
    memory_gb: float = 0.0
    ranks: int = 1
    gpu_type: str | None = None
    """Only nodes whose GPUs are of this type; None takes any."""

    @property
    def charge_per_second(self) -> float:
        """What all ranks together take of the cluster, in GPU-seconds per second."""
        return charge_per_second(cpus=self.cpus, gpus=self.gpus, ranks=self.ranks)

    def in_words(self) -> str:
        """Write it for people: `2 times 1 CPU, 1 A100 GPU and 2 GiB`."""
        times = f"{self.ranks} times " if self.ranks > 1 else ""
        cpus = f"{self.cpus:g} CPU{'s' if self.cpus != 1 else ''}"
        kind = f"{self.gpu_type} " if self.gpu_type else ""
        gpus = f", {self.gpus:g} {kind}GPU" if self.gpus else ""
        return f"{times}{cpus}{gpus} and {self.memory_gb:g} GiB"


@dataclass(frozen=True)
class Node:
    """What a node offers when nobody is on it."""

    name: str
    cpus: float
    gpus: float = 0.0
    memory_gb: float = 0.0
    gpu_type: str | None = None
    draining: bool = False
    """Starts nothing more; what runs there may end in peace."""


@dataclass
class Room:
    """What is left of one node."""

    node: Node
    cpus: float
    memory_gb: float
    devices: list[float] = field(default_factory=list)
    """What is left of each GPU, 0 to 1."""

    @classmethod
    def of(cls, node: Node) -> Self:
        """The whole of a node."""
        whole = int(node.gpus + _EPSILON)
        rest = node.gpus - whole
        return cls(node, node.cpus, node.memory_gb, [1.0] * whole + ([rest] if rest > _EPSILON else []))

    def copy(self) -> Self:
        """A room of its own, with as much left."""
        return type(self)(self.node, self.cpus, self.memory_gb, list(self.devices))

    def fits(self, asked: Asked) -> bool:
        """Whether one rank of it has room."""
        if asked.gpu_type is not None and self.node.gpu_type != asked.gpu_type:
            return False
        if self.cpus < asked.cpus - _EPSILON or self.memory_gb < asked.memory_gb - _EPSILON:
            return False
        if asked.gpus >= 1:
            return sum(left > 1 - _EPSILON for left in self.devices) >= asked.gpus - _EPSILON
        return asked.gpus <= _EPSILON or any(left >= asked.gpus - _EPSILON for left in self.devices)

    def take(self, asked: Asked) -> None:
        """Seat one rank. What does not fit is taken all the same, as far as there is any: it is there already."""
        self.cpus -= asked.cpus
        self.memory_gb -= asked.memory_gb
        wanted = asked.gpus
        if wanted >= 1:
            for index in sorted(range(len(self.devices)), key=lambda index: -self.devices[index]):
                if wanted <= _EPSILON:
                    break
                self.devices[index], wanted = 0.0, wanted - 1
        elif wanted > _EPSILON and self.devices:
            # The fullest device that has room, as Ray does, so that whole devices stay whole.
            fitting = [index for index, left in enumerate(self.devices) if left >= wanted - _EPSILON]
            chosen = min(fitting or range(len(self.devices)), key=lambda index: self.devices[index])
            self.devices[chosen] = max(0.0, self.devices[chosen] - wanted)

    def give_back(self, asked: Asked) -> None:
        """Undo one `take`, as far as the devices tell: a whole GPU frees a full device, a share the fullest that held one."""
        self.cpus += asked.cpus
        self.memory_gb += asked.memory_gb
        wanted = asked.gpus
        while wanted > _EPSILON and self.devices:
            part = min(wanted, 1.0)
            holding = [index for index, left in enumerate(self.devices) if left <= 1 - part + _EPSILON]
            chosen = min(holding or range(len(self.devices)), key=lambda index: self.devices[index])
            self.devices[chosen] = min(1.0, self.devices[chosen] + part)
            wanted -= part


def rooms_of(nodes: Iterable[Node]) -> list[Room]:
    """The rooms of empty nodes."""
    return [Room.of(node) for node in nodes]


def seat(rooms: Sequence[Room], asked: Asked) -> list[str] | None:
    """Take room for all ranks and return the node of each, or take nothing and return None.

    Ranks are packed: each goes to the node that already has one of them, else to the fullest that fits, so that large rooms
    stay whole for large runs.
    """
    if asked.ranks == 1:
        fitting = [room for room in rooms if not room.node.draining and room.fits(asked)]
        if not fitting:
            return None
        best = min(fitting, key=lambda room: (sum(room.devices), room.cpus, room.node.name))
        best.take(asked)
        return [best.node.name]
    tried = {room.node.name: room.copy() for room in rooms if not room.node.draining and room.fits(asked)}
    chosen: list[str] = []
    for _ in range(asked.ranks):
        fitting = [room for room in tried.values() if room.fits(asked)]
        if not fitting:
            return None
        best = min(
            fitting, key=lambda room: (room.node.name not in chosen, sum(room.devices), room.cpus, room.node.name)
        )
        best.take(asked)
        chosen.append(best.node.name)
    for room in rooms:
        if room.node.name in chosen:
            after = tried[room.node.name]
            room.cpus, room.memory_gb, room.devices = after.cpus, after.memory_gb, after.devices
    return chosen


def take_on(names: Iterable[str], rooms: Sequence[Room], asked: Asked) -> None:
    """Seat a rank on each of the named nodes, as `seat` or somebody before it has chosen them."""
    for name in names:
        next(room for room in rooms if room.node.name == name).take(asked)


def could_ever_fit(asked: Asked, nodes: Iterable[Node]) -> bool:
    """Whether the nodes could hold all ranks if they were empty and none were draining."""
    empty = [Room.of(Node(node.name, node.cpus, node.gpus, node.memory_gb, node.gpu_type)) for node in nodes]
    return seat(empty, asked) is not None
