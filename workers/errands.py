"""Ray tasks that do chores: order one, hear of it, end it.

A task belongs to the dispatcher that ordered it, and Ray ends it with that one: nothing has to be found again, since a chore
that is begun anew loses seconds. It asks for no CPU, so that it never stands where a run should start; that few are ordered at
once, each with one thread and at low priority, keeps it from being felt.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import ray
import ray.exceptions
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from workers.chore import do
from workers.lines import cause
from workers.messages import ChoreAnswer, ChoreOrder

# Added to the priority number of the process: training on the same cores goes first.
_NICE = 15


class Errands:
    """The tasks of this process that have not been heard of yet, by name."""

    def __init__(self) -> None:
        # A process for each: its priority and its memory are not for whoever came next.
        self._task = ray.remote(num_cpus=0, max_retries=0, max_calls=1)(_at_low_priority)
        self._ordered: dict[str, Any] = {}

    def order(self, name: str, order: ChoreOrder, node_id: str) -> None:
        """Have it done on that node, and on no other."""
        where = NodeAffinitySchedulingStrategy(node_id, soft=False)
        self._ordered[name] = self._task.options(name=name, scheduling_strategy=where).remote(order)

    def answers(self) -> Iterator[tuple[str, ChoreAnswer]]:
        """Give what has come since the last call, without waiting."""
        if not self._ordered:
            return
        names = {reference: name for name, reference in self._ordered.items()}
        ready, _ = ray.wait(list(names), num_returns=len(names), timeout=0)
        for reference in ready:
            del self._ordered[names[reference]]
            yield names[reference], _answer(reference)

    def end(self, name: str) -> None:
        """End the process that does it; its answer, if any, is heard by nobody."""
        if (reference := self._ordered.pop(name, None)) is not None:
            ray.cancel(reference, force=True)


def _at_low_priority(order: ChoreOrder) -> ChoreAnswer:
    os.nice(_NICE)
    import torch

    torch.set_num_threads(1)
    return do(order)


def _answer(reference: Any) -> ChoreAnswer:
    try:
        answer: ChoreAnswer = ray.get(reference)
    except ray.exceptions.RayError as error:
        return ChoreAnswer("lost", f"Its worker was lost: {cause(error)}")
    return answer
