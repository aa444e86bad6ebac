"""A sweep that searches: how far it is, and its trials."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from prolu.client.wire.base import Wire

SearchState = Literal["asking", "paused", "ending", "ended"]
TrialState = Literal["open", "complete", "pruned", "failed"]


class SearchRead(Wire):
    """How far a search is."""

    state: SearchState
    """`asking` for points as there is room, `paused`, `ending` (open trials are waited for, no new ones asked), or `ended`."""
    trials: int
    """Points in all, unless it is cancelled."""
    asked: int
    """Trials that there are."""
    open: int
    """Trials whose runs have not ended."""


class TrialRead(Wire):
    """One point that a search asked for, and what came of it."""

    number: int
    """Number of the trial, from 0; its run has it as `point`."""
    state: TrialState
    """`open`, `complete`, `pruned` (stopped early) or `failed`, which includes cancelled, and runs that lack a metric."""
    set: dict[str, Any]
    """What the sampler chose, by path."""
    values: list[float] | None
    """Its objectives, in their order; null unless it is complete."""
    on_front: bool
    """Whether no complete trial is at least as good by every objective, and better by one."""
    message: str | None
    """Why it is not complete."""
    run_id: UUID | None
    """The run; null where the point is no run, and trained by nobody."""
    same_as: int | None
    """An earlier trial that has the same point, whose run this shares."""
    told: int | None
    """Its place in the order in which results came to the sampler, from 1; null while it is open."""
    asked_at: datetime
    """When it was asked for."""
    told_at: datetime | None
    """When its result came."""
