"""A run as its owner follows it: its state, its attempts, what happened to it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from prolu.client.wire.base import Wire
from prolu.spec.report import FailureClass
from prolu.spec.run import RunSpec

RunState = Literal[
    "queued", "starting", "running", "stopping", "retry_wait", "paused", "succeeded", "failed", "cancelled"
]
DesiredState = Literal["running", "paused", "cancelled"]
Tier = Literal["low", "normal", "high"]
AttemptOutcome = Literal["succeeded", "failed", "lost", "cancelled", "paused", "preempted"]


class ProgressRead(Wire):
    """How far a run is."""

    phase: str
    """What it is doing: preparing, extracting, waiting_for_extraction, training, evaluating."""
    done: int
    """Steps trained, or tokens extracted."""
    total: int
    """Of so many; 0 where unknown."""
    updated_at: datetime
    """When it said so."""


class RunSummary(Wire):
    """A run without its spec: what lists show."""

    id: UUID
    """Identity, a UUIDv7: rises with time of submission."""
    name: str
    """Label."""
    owner: str
    """User who submitted it."""
    sweep_id: UUID | None
    """Sweep it belongs to."""
    point: int | None
    """Index within the sweep, from 0."""
    variant: str | None
    """Alternative of the sweep it belongs to."""
    digest: str
    """sha256 of the canonical spec."""
    state: RunState
    """Where it is in its life."""
    desired_state: DesiredState
    """What its owner wishes."""
    tier: Tier
    """Goes before priority: low, normal or high."""
    priority: int
    """0 to 100; higher goes first."""
    preemptible: bool
    """Whether it may be stopped and put back into the queue to make room for others."""
    ranks: int
    """Workers that train it together."""
    retry_of: UUID | None
    """Run whose place it took, when that was tried again."""
    superseded: bool
    """Whether another run took its place; tables of a sweep then show that one."""
    cloned_from: UUID | None
    """Run that it was cloned from."""
    reused_from: UUID | None
    """Identical finished run whose results and checkpoints are its own, if that was asked for; it was not trained again."""
    stopped_early: str | None
    """Why early stopping ended it, in one sentence; null for any other run."""
    epoch: int
    """Number of the present or last attempt; 0 before the first."""
    step: int
    """Optimizer steps done, as last reported."""
    total_steps: int
    """Optimizer steps in all."""
    progress: ProgressRead | None
    """What it is doing, while it is live."""
    failure_class: FailureClass | None
    """Why it failed, if it did."""
    message: str | None
    """Failure or state in one sentence."""
    metrics: dict[str, float] | None
    """Final held-out metrics, once it has succeeded."""
    tags: list[str]
    """What people file it under, such as `baseline` or `paper:figure-3`."""
    note: str | None
    """What people say of it, in Markdown."""
    pinned: bool
    """Whether its checkpoints are kept whatever a policy of deletion says."""
    archived: bool
    """Whether lists leave it out unless they are asked for what is archived."""
    created_at: datetime
    """Submission."""
    started_at: datetime | None
    """First attempt's start."""
    finished_at: datetime | None
    """Entry into a terminal state."""


class RunRead(RunSummary):
    """A run with its spec."""

    spec: RunSpec
    """What it trains, defaults filled in."""


class AttemptRead(Wire):
    """One try at a run."""

    epoch: int
    """Number of the try, from 1."""
    outcome: AttemptOutcome | None
    """How it ended; null while it lives."""
    node: str | None
    """Node it ran on; the first rank's, if it has several."""
    nodes: list[str] | None
    """Node of each rank, by rank; null where that is not known."""
    started_at: datetime
    """Claim by the dispatcher."""
    finished_at: datetime | None
    """End."""
    resumed_from_step: int | None
    """Step of the checkpoint it began with; null from scratch."""
    last_step: int
    """Last step it reported."""
    stop_reason: str | None
    """Why it was asked to end, if it was: cancel, pause, preempt, ..."""
    failure_class: FailureClass | None
    """Why it ended badly."""
    message: str | None
    """What happened, in one sentence."""
    exit_cause: str | None
    """What the cluster says of the end of its process: signal, exit code, out of memory."""
    traceback_tail: str | None
    """End of the traceback, if there was one."""


class EventRead(Wire):
    """One thing that happened to a run."""

    id: int
    """Rises with time."""
    run_id: UUID
    """The run."""
    at: datetime
    """When."""
    kind: str
    """What: submitted, claimed, running, succeeded, failed, lost, requeued, cancel_requested, superseded, stopped_early, ..."""
    epoch: int | None
    """During which attempt."""
    detail: dict[str, Any]
    """More, by kind."""
