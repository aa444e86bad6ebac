"""A sweep: what it would submit, and how far it is."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import Field

from prolu.client.wire.base import Wire
from prolu.client.wire.problems import ProblemItem
from prolu.client.wire.runs import RunState, Tier
from prolu.client.wire.search import SearchRead
from prolu.spec.sweep import SweepSpec


class PointRead(Wire):
    """One point of an expanded sweep."""

    point: int
    """Index, from 0."""
    name: str
    """Name its run gets."""
    variant: str | None
    """Alternative it belongs to."""
    set: dict[str, Any]
    """What differs from the base, by path."""
    digest: str
    """sha256 of the canonical spec of its run."""
    reusable: UUID | None = None
    """Identical finished run whose checkpoint is still there; with `reuse` the point refers to it."""


class SweepPreview(Wire):
    """What a sweep would submit; nothing is written."""

    count: int
    """Number of runs; of a search, the trials that it may ask for."""
    points: list[PointRead]
    """Each run; of a search those that it would ask for at once, since the others depend on results."""
    reusable: int = 0
    """Points that were finished elsewhere; `reuse` refers to those runs instead of training again."""
    refusals: list[ProblemItem] = Field(default_factory=list)
    """Why it would be refused today, each reason once, at most 50: what it names that is not here, what no node has."""


class SweepRead(Wire):
    """A sweep and how far it is."""

    id: UUID
    """Identity, a UUIDv7."""
    name: str
    """Label."""
    owner: str
    """User who submitted it."""
    editors: list[str] = []
    """Users with whom its owner shares it: they decide about it and its runs too."""
    tier: Tier
    """Of its runs, as last set for all of them."""
    priority: int
    """Of its runs, as last set for all of them."""
    preemptible: bool
    """Whether its runs may be stopped to make room for others, as last set for all of them."""
    count: int
    """Number of runs; of a search, of those that there are so far."""
    states: dict[RunState, int]
    """Number of runs by state; of a point that was tried again, the latest run counts."""
    tags: list[str]
    """What people file it under, such as `baseline` or `paper:figure-3`."""
    note: str | None
    """What people say of it, in Markdown."""
    pinned: bool
    """Whether the checkpoints of its runs are kept whatever a policy of deletion says."""
    archived: bool
    """Whether lists leave it out unless they are asked for what is archived."""
    search: SearchRead | None = None
    """How far its search is; null for a sweep that has all its points from the beginning."""
    reused: int = 0
    """Points that refer to finished runs elsewhere, and were not trained again."""
    reusable: int | None = None
    """Points that had identical finished runs elsewhere and are trained again; only in the answer to a submission."""
    created_at: datetime
    """Submission."""
    spec: SweepSpec
    """What it varies."""
