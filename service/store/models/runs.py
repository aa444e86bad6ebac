"""Sweeps, runs, their attempts, and what happened to them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Float, ForeignKey, ForeignKeyConstraint, Index, String, false, text
from sqlalchemy.orm import Mapped, mapped_column
from uuid_utils.compat import uuid7

from prolu.client.wire import AttemptOutcome, DesiredState, RunState
from prolu.spec.report import FailureClass
from service.store.models.base import Base, Json, Serial, Written

_OF_A_SWEEP = text("sweep_id IS NOT NULL")
_INHERITS = text("begins_with IS NOT NULL")
_REFERS = text("reused_from IS NOT NULL")


class SweepRow(Base):
    """A submitted sweep; its runs hold the points."""

    __tablename__ = "sweeps"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    owner_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), index=True)
    name: Mapped[str]
    spec: Mapped[dict[str, Any]] = mapped_column(Written)
    count: Mapped[int]
    priority: Mapped[int]
    max_concurrent: Mapped[int | None]
    tier: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    preemptible: Mapped[bool] = mapped_column(default=False, server_default=false())
    # By which rule its runs are stopped early; out of the spec, which may be long, for whoever hears of a metric.
    early_stopping: Mapped[dict[str, Any] | None] = mapped_column(Json)
    # What people say of it, and whether they want it kept, or out of sight.
    tags: Mapped[list[str]] = mapped_column(Json, default=list, server_default=text("'[]'"))
    note: Mapped[str | None]
    pinned: Mapped[bool] = mapped_column(default=False, server_default=false())
    archived: Mapped[bool] = mapped_column(default=False, server_default=false())
    created_at: Mapped[datetime]


class RunRow(Base):
    """A run: its spec, where it is in its life, and the latest news of it. Its row is the lock of everything below it."""

    __tablename__ = "runs"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    owner_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"))
    sweep_id: Mapped[UUID | None] = mapped_column(ForeignKey("sweeps.id"))
    point: Mapped[int | None]
    variant: Mapped[str | None]
    set: Mapped[dict[str, Any]] = mapped_column(Written, default=dict)
    name: Mapped[str]
    digest: Mapped[str] = mapped_column(String(64), index=True)
    data_digest: Mapped[str] = mapped_column(String(64))
    spec: Mapped[dict[str, Any]]
    # Out of the spec, for the plan and for lists, which never read specs.
    ranks: Mapped[int] = mapped_column(default=1, server_default=text("1"))
    cpus: Mapped[int]
    gpus: Mapped[float] = mapped_column(Float(53))
    gpu_type: Mapped[str | None]
    memory_gb: Mapped[float] = mapped_column(Float(53))
    run_limit_seconds: Mapped[float | None] = mapped_column(Float(53))
    start_limit_seconds: Mapped[float | None] = mapped_column(Float(53))
    no_progress_limit_seconds: Mapped[float | None] = mapped_column(Float(53))
    total_steps: Mapped[int] = mapped_column(BigInteger)
    # Whose place it takes: the run that failed and is tried again, which is `superseded` from then on.
    retry_of: Mapped[UUID | None] = mapped_column(ForeignKey("runs.id"))
    superseded: Mapped[bool] = mapped_column(default=False, server_default=false())
    cloned_from: Mapped[UUID | None] = mapped_column(ForeignKey("runs.id"))
    # The checkpoint that its first attempt goes on from, if it takes another run's place.
    begins_with: Mapped[str | None]
    begins_at_step: Mapped[int | None] = mapped_column(BigInteger)
    # The identical finished run whose results are its own: it was not trained again.
    reused_from: Mapped[UUID | None] = mapped_column(ForeignKey("runs.id"))
    # Why early stopping ended it.
    stopped_early: Mapped[str | None]

    state: Mapped[RunState] = mapped_column(String(16))
    desired_state: Mapped[DesiredState] = mapped_column(String(16))
    tier: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    priority: Mapped[int]
    preemptible: Mapped[bool] = mapped_column(default=False, server_default=false())
    # What its age in the queue counts from: its submission, or its resume after a pause.
    waiting_since: Mapped[datetime]
    # When it last became `queued`: what a wait is measured from, without the time that it trained.
    queued_at: Mapped[datetime]
    epoch: Mapped[int] = mapped_column(default=0)
    # While it waits for a retry: when that is due.
    not_before: Mapped[datetime | None]

    step: Mapped[int] = mapped_column(BigInteger, default=0)
    phase: Mapped[str | None] = mapped_column(String(32))
    done: Mapped[int] = mapped_column(BigInteger, default=0)
    total: Mapped[int] = mapped_column(BigInteger, default=0)
    progress_at: Mapped[datetime | None]
    failure_class: Mapped[FailureClass | None] = mapped_column(String(32))
    message: Mapped[str | None]
    metrics: Mapped[dict[str, Any] | None]

    # What people say of it, and whether they want it kept, or out of sight.
    tags: Mapped[list[str]] = mapped_column(Json, default=list, server_default=text("'[]'"))
    note: Mapped[str | None]
    pinned: Mapped[bool] = mapped_column(default=False, server_default=false())
    archived: Mapped[bool] = mapped_column(default=False, server_default=false())

    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        Index(
            "uq_runs_sweep_id_point",
            "sweep_id",
            "point",
            unique=True,
            sqlite_where=text("NOT superseded"),
            postgresql_where=text("NOT superseded"),
        ),
        Index("ix_runs_owner_id_id", "owner_id", "id"),
        Index("ix_runs_sweep_id_id", "sweep_id", "id", sqlite_where=_OF_A_SWEEP, postgresql_where=_OF_A_SWEEP),
        Index("ix_runs_state_id", "state", "id"),
        # Which runs began with another's checkpoint.
        Index("ix_runs_begins_with", "begins_with", sqlite_where=_INHERITS, postgresql_where=_INHERITS),
        # Which runs have another's results.
        Index("ix_runs_reused_from", "reused_from", sqlite_where=_REFERS, postgresql_where=_REFERS),
        # What waits in the queue, and the wishes that can be granted at once, however many runs there are.
        Index("ix_runs_queue", "desired_state", "state", "id"),
    )


class AttemptRow(Base):
    """One try at a run, with its lease. `(run_id, epoch)` is the fence: nobody hears an old epoch."""

    __tablename__ = "attempts"

    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True)
    actor_name: Mapped[str]
    holder: Mapped[str]
    lease_until: Mapped[datetime]
    last_seq: Mapped[int] = mapped_column(BigInteger, default=0)
    node: Mapped[str | None]
    # Of each rank, if it has several; `node` is the first one's.
    nodes: Mapped[list[str] | None] = mapped_column(Json)
    # The names of each rank's GPUs: where the plan expects it, then where Ray has put it. Null without GPUs.
    devices: Mapped[list[list[str]] | None] = mapped_column(Json)
    resume_from: Mapped[str | None]
    resumed_from_step: Mapped[int | None] = mapped_column(BigInteger)
    last_step: Mapped[int] = mapped_column(BigInteger, default=0)
    started_at: Mapped[datetime]
    # When it last said something new.
    news_at: Mapped[datetime | None]
    # When and why it was asked to end; by force, once the grace is over.
    stop_reason: Mapped[str | None] = mapped_column(String(16))
    stop_asked_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    outcome: Mapped[AttemptOutcome | None] = mapped_column(String(16))
    failure_class: Mapped[FailureClass | None] = mapped_column(String(32))
    message: Mapped[str | None]
    # What the cluster says of the end of its process: signal, exit code, out of memory.
    exit_cause: Mapped[str | None]
    traceback_tail: Mapped[str | None]

    __table_args__ = (
        Index(
            "ix_attempts_live",
            "lease_until",
            sqlite_where=text("finished_at IS NULL"),
            postgresql_where=text("finished_at IS NULL"),
        ),
        # What metrics count, from the index alone.
        Index(
            "ix_attempts_ended",
            "outcome",
            "failure_class",
            sqlite_where=text("finished_at IS NOT NULL"),
            postgresql_where=text("finished_at IS NOT NULL"),
        ),
    )


class EventRow(Base):
    """One thing that happened to a run; every change of state writes one."""

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(Serial, primary_key=True, autoincrement=True)
    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"))
    at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(String(32))
    epoch: Mapped[int | None]
    detail: Mapped[dict[str, Any]] = mapped_column(default=dict)

    __table_args__ = (Index("ix_events_run_id_id", "run_id", "id"),)


class LogChunkRow(Base):
    """Lines that an attempt's process wrote, as they were reported together."""

    __tablename__ = "log_chunks"

    run_id: Mapped[UUID] = mapped_column(primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    text: Mapped[str]

    __table_args__ = (ForeignKeyConstraint(["run_id", "epoch"], ["attempts.run_id", "attempts.epoch"]),)
