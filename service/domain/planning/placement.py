"""Room on nodes: who sits where, what is held for whom, and whether a run of one or more ranks fits.

A run asks for `ranks` equal parts, each on one node; several may share a node. GPUs are counted one by one, as Ray hands them
out: a share of a GPU lies on one device, and a whole GPU is a device that nobody else uses. Whoever has a device keeps it to
the end. Knows no order and no users.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from service.domain.planning.shares import charge_per_second

EPSILON = 1e-9  # shares of a GPU are hundredths, which floats add up only nearly


@dataclass(frozen=True)
class Asked:
    """What each of a run's ranks takes of one node."""

    cpus: float
    gpus: float = 0.0
    memory_gb: float = 0.0
    ranks: int = 1
    gpu_type: str | None = None
    """Only nodes whose GPUs are of this type; None takes any."""
    avoided: tuple[str, ...] = ()
    """Not on these nodes, where an attempt did not come up a short while ago."""

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
        elsewhere = f" away from {', '.join(self.avoided)}, where it did not come up," if self.avoided else ""
        return f"{times}{cpus}{gpus} and {self.memory_gb:g} GiB{elsewhere}"


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


class Place(NamedTuple):
    """Where one rank sits."""

    node: str
    devices: tuple[str, ...] = ()
    """The names of its GPUs; empty for a rank without, or where they are not known."""


@dataclass
class Room:
    """What is left of one node."""

    node: Node
    cpus: float
    memory_gb: float
    devices: list[float] = field(default_factory=list)
    """What is left of each GPU, 0 to 1."""
    names: tuple[str, ...] = ()
    """What each GPU is called: its number, until somebody there has told another name."""

    @classmethod
    def of(cls, node: Node) -> Self:
        """The whole of a node."""
        whole = int(node.gpus + EPSILON)
        rest = node.gpus - whole
        devices = [1.0] * whole + ([rest] if rest > EPSILON else [])
        return cls(node, node.cpus, node.memory_gb, devices, tuple(map(str, range(len(devices)))))

    def copy(self) -> Self:
        """A room of its own, with as much left."""
        return type(self)(self.node, self.cpus, self.memory_gb, list(self.devices), self.names)

    def fits(self, asked: Asked) -> bool:
        """Whether one rank of it has room."""
        if asked.gpu_type is not None and self.node.gpu_type != asked.gpu_type:
            return False
        if self.cpus < asked.cpus - EPSILON or self.memory_gb < asked.memory_gb - EPSILON:
            return False
        if asked.avoided and self.node.name in asked.avoided:
            return False
        if asked.gpus >= 1:
            return sum(left > 1 - EPSILON for left in self.devices) >= asked.gpus - EPSILON
        return asked.gpus <= EPSILON or any(left >= asked.gpus - EPSILON for left in self.devices)

    def capacity(self, asked: Asked, most: int) -> int:
        """How many ranks of it have room, counted up to `most`."""
        if not self.fits(asked):
            return 0
        ranks = float(most)
        if asked.cpus > EPSILON:
            ranks = min(ranks, (self.cpus + EPSILON) // asked.cpus)
        if asked.memory_gb > EPSILON:
            ranks = min(ranks, (self.memory_gb + EPSILON) // asked.memory_gb)
        if asked.gpus >= 1:
            whole = sum(left > 1 - EPSILON for left in self.devices)
            ranks = min(ranks, whole // math.ceil(asked.gpus - EPSILON))
        elif asked.gpus > EPSILON:
            ranks = min(ranks, sum((left + EPSILON) // asked.gpus for left in self.devices))
        return int(ranks)

    def take(self, asked: Asked, devices: Sequence[str] = ()) -> tuple[str, ...]:
        """Seat one rank on these devices, or where Ray would seat it, and return their names.

        What does not fit is taken all the same, as far as there is any: it is there already.
        """
        self.cpus -= asked.cpus
        self.memory_gb -= asked.memory_gb
        parts = _parts(asked.gpus)
        if len(devices) != len(parts):
            devices = [self.names[index] for index in self._as_ray_would(parts)]
        taken = []
        for name, part in zip(devices, parts, strict=False):
            index = self._called(name)
            if index is not None:
                self.devices[index] = max(0.0, self.devices[index] - part)
                taken.append(name)
        return tuple(taken)

    def give_back(self, asked: Asked, devices: Sequence[str] = ()) -> None:
        """Undo one `take` on these devices; where they are not known, a share frees the fullest that may have held it."""
        self.cpus += asked.cpus
        self.memory_gb += asked.memory_gb
        parts = _parts(asked.gpus)
        known = len(devices) == len(parts) and set(devices) <= set(self.names)
        for number, part in enumerate(parts if self.devices else ()):
            if known:
                chosen = self.names.index(devices[number])
            else:
                holding = [index for index, left in enumerate(self.devices) if left <= 1 - part + EPSILON]
                chosen = min(holding or range(len(self.devices)), key=lambda index: self.devices[index])
            self.devices[chosen] = min(1.0, self.devices[chosen] + part)

    def _as_ray_would(self, parts: Sequence[float]) -> list[int]:
        """The devices that Ray chooses: whole ones by their number; for a share the fullest that has room, the first of equals.

        Source: `NodeResourceInstanceSet::TryAllocate` in Ray's src/ray/common/scheduling/resource_instance_set.cc.
        """
        everyone = range(len(self.devices))
        if len(parts) == 1 and parts[0] < 1:
            fitting = [index for index in everyone if self.devices[index] >= parts[0] - EPSILON]
            return [min(fitting or everyone, key=lambda index: self.devices[index])] if everyone else []
        return sorted(everyone, key=lambda index: -self.devices[index])[: len(parts)]

    def _called(self, name: str) -> int | None:
        """Find a device by its name, which one that nobody uses takes if none has it yet; None if all are in use."""
        if name not in self.names:
            unused = next((index for index, left in enumerate(self.devices) if left > 1 - EPSILON), None)
            if unused is None:
                return None
            self.names = (*self.names[:unused], name, *self.names[unused + 1 :])
        return self.names.index(name)


def _parts(gpus: float) -> list[float]:
    """What is taken of each device: of one a share, or all of several."""
    if gpus <= EPSILON:
        return []
    return [gpus] if gpus < 1 else [1.0] * math.ceil(gpus - EPSILON)
