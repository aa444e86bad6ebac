"""What one user and one sweep may have at once: what they hold already, and what is kept for their runs that stand first.

A run that waits holds nothing yet. If that were all, the later and smaller runs of its own owner would take the limit up again
and again, and a large one never found as much of it free as it needs. So what a run asks for is kept for it as soon as the limit
refuses it or room is held for it, and its owner's later runs find only what is left of both. They wait even if they would be gone
in time: when that is, is mostly not known. Pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Protocol
from uuid import UUID

from prolu.client.wire import Cause
from service.domain.planning.placement import EPSILON, Asked


class Training(Protocol):
    """A run that trains, as far as limits look at it."""

    @property
    def owner(self) -> str: ...

    @property
    def sweep_id(self) -> UUID | None: ...

    @property
    def asked(self) -> Asked: ...


class Limited(Training, Protocol):
    """A run that waits, as far as limits look at it."""

    @property
    def max_concurrent(self) -> int | None: ...


class Limits:
    """The GPUs of each user and the runs of each sweep. `max_gpus_per_user` is None for no limit."""

    def __init__(self, live: Iterable[Training], *, max_gpus_per_user: float | None) -> None:
        self._most = max_gpus_per_user
        self._training: dict[UUID | None, int] = defaultdict(int)
        self._awaited: dict[UUID | None, int] = defaultdict(int)
        self._gpus: dict[str, float] = defaultdict(float)
        self._kept: dict[str, float] = defaultdict(float)
        for one in live:
            self.starts(one)

    def refuse(self, run: Limited) -> tuple[Cause, str] | None:
        """Say why it may not start, whatever is free; None if it may."""
        limit = run.max_concurrent
        if limit is not None and run.sweep_id:
            trains, awaited = self._training[run.sweep_id], self._awaited[run.sweep_id]
            if trains >= limit:
                return "sweep_limit", f"its sweep trains {_runs(limit)} already, as many as max_concurrent allows"
            if trains + awaited >= limit:
                allowed = f"its sweep trains {trains} of the {_runs(limit)} that max_concurrent allows"
                return "sweep_limit", f"{allowed}, and room is held for {awaited} before it"
        if self._most is None or not (wanted := _gpus(run)):
            return None
        has, kept = self._gpus[run.owner], self._kept[run.owner]
        if has + kept + wanted <= self._most + EPSILON:
            return None
        if wanted <= self._most + EPSILON and has + kept <= self._most + EPSILON:
            self._kept[run.owner] += wanted  # once more is kept than there is, nobody after it gets through
        noun = "GPU" if wanted == 1 else "GPUs"
        reason = f"asks for {wanted:g} {noun}; its owner holds {has:g} of the {self._most:g} that one user may"
        if kept:
            reason += f", and {kept:g} {'is' if kept == 1 else 'are'} kept for runs of theirs before it"
        return "user_limit", reason

    def starts(self, run: Training) -> None:
        """Count a run that trains from now on."""
        self._training[run.sweep_id] += 1
        self._gpus[run.owner] += _gpus(run)

    def awaits(self, run: Training) -> None:
        """Keep what it asks for: room is held for it."""
        self._awaited[run.sweep_id] += 1
        self._kept[run.owner] += _gpus(run)


def _gpus(run: Training) -> float:
    return run.asked.gpus * run.asked.ranks


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"
