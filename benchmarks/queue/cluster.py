"""A cluster in memory with a fast trainer: every actor ends at its first poll, or when it is asked to stop.

It tells when each actor was asked for, by a clock that all processes of the machine share.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from prolu.client.wire import NodeRead
from prolu.spec import ResourcesSpec
from prolu.spec.report import Report, Stopped, StopReason, Succeeded
from workers.cluster import CannotStart, Loss
from workers.messages import (
    Acks,
    Assignment,
    Attempt,
    ChoreAnswer,
    ChoreOrder,
    Message,
    Reply,
    Surroundings,
    write_report,
)

_SUCCEEDED = write_report(Succeeded(step=1000, metrics={}))


class NoOpCluster:
    """One node of `cpus`; `on_start` hears of every actor. Actors end by themselves unless they are `patient`."""

    def __init__(self, cpus: int, on_start: Callable[[str, float], None], *, patient: bool = False) -> None:
        self._cpus = cpus
        self._on_start = on_start
        self._patient = patient
        self._actors: dict[str, tuple[Attempt, Report | None]] = {}

    def nodes(self) -> list[NodeRead]:
        return [NodeRead(name="node", cpus=self._cpus, gpus=0, memory_gb=2.0 * self._cpus)]

    def names(self) -> set[str]:
        return set(self._actors)

    def start(
        self,
        name: str,
        assignments: Sequence[Assignment],
        surroundings: Surroundings,
        resources: ResourcesSpec,
        *,
        nodes: Sequence[str] = (),
    ) -> None:
        self._on_start(assignments[0].attempt.run_id, time.perf_counter())
        self._actors[name] = (assignments[0].attempt, None)

    def attach(self, name: str) -> bool:
        return name in self._actors

    def poll(self, acks: Mapping[str, Acks], *, timeout: float) -> Iterator[tuple[str, Reply | Loss]]:
        for name in list(acks):
            attempt, end = self._actors[name]
            if end is not None:
                yield name, Reply("node", [Message(attempt, 1, write_report(end))])
            elif self._patient:
                yield name, Reply("node", [])
            else:
                yield name, Reply("node", [Message(attempt, 1, _SUCCEEDED)])

    def stop(self, name: str, attempt: Attempt, reason: StopReason) -> None:
        self._actors[name] = (attempt, Stopped(step=1, reason=reason))

    def kill(self, name: str) -> None:
        self._actors.pop(name, None)

    def order(self, name: str, order: ChoreOrder, node: str) -> None:
        raise CannotStart("no chore is a part of the benchmark")

    def answers(self) -> Iterator[tuple[str, ChoreAnswer]]:
        yield from ()

    def recall(self, name: str) -> None: ...
