"""Say how far a long piece of work is, and stop it when asked to."""

from __future__ import annotations

from typing import Literal

from prolu.data.places import Interrupted
from prolu.data.source import Notify, ShouldStop
from prolu.spec.report import Progress

_REPORTS = 1_000


class Progression:
    """Counts towards a total; tells at most 1,000 times in all, besides the end."""

    def __init__(
        self,
        phase: Literal["preparing", "extracting", "evaluating"],
        total: int,
        notify: Notify,
        should_stop: ShouldStop,
    ) -> None:
        self._phase = phase
        self._total = total
        self._notify = notify
        self._should_stop = should_stop
        self._finished = 0
        self._told = -total

    def within(self, amount: int) -> None:
        """`amount` of the present part is done. Raises Interrupted if the work is to stop."""
        if self._should_stop():
            raise Interrupted(f"asked to stop while {self._phase}")
        self._tell(self._finished + amount)

    def finish(self, amount: int) -> None:
        """A part of this size is complete."""
        self._finished += amount
        self._tell(self._finished)

    def _tell(self, done: int) -> None:
        if done - self._told >= self._total / _REPORTS or done == self._total:
            self._told = done
            self._notify(Progress(phase=self._phase, done=done, total=self._total))
