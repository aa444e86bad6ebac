"""The tables. Rows only: no relationships, so that no query hides behind an attribute.

Times are UTC and aware on both databases. JSON is JSONB on PostgreSQL, but for what a person wrote in an order that
counts (a sweep and its points), since JSONB sorts keys and turns 1e22 into an integer. Identities are UUIDv7, which
rise with time, so that keyset pages need no second column.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from uuid_utils.compat import uuid7

from prolu.client.wire import AttemptOutcome, DesiredState, RunState
from prolu.spec.report import FailureClass

_Written = JSON(none_as_null=True)
_Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
# SQLite counts only a column of type INTEGER up by itself.
_OF_A_SWEEP = text("sweep_id IS NOT NULL")
_Serial = BigInteger().with_variant(Integer(), "sqlite")


class Utc(TypeDecorator[datetime]):
    """An aware datetime; SQLite, which has no zones, stores its UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone; give an aware datetime.")
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if dialect.name == "sqlite" else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Common to all tables: constraints have predictable names, which migrations need."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: Utc(), dict[str, Any]: _Json, list[dict[str, Any]]: _Json, str: Text()}


class UserRow(Base):
    """A person or program that submits."""

    __tablename__ = "users"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    role: Mapped[str] = mapped_column(String(20))
    # What is theirs of the cluster, against the weights of the other users.
    weight: Mapped[float] = mapped_column(Float(53), default=1.0, server_default=text("1"))
    created_at: Mapped[datetime]


class TokenRow(Base):
    """A bearer token, of which only the hash is kept."""

    __tablename__ = "tokens"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), index=True)
    name: Mapped[str] = mapped_column(String(100))
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class SweepRow(Base):
    """A submitted sweep; its runs hold the points."""

    __tablename__ = "sweeps"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    owner_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), index=True)
    name: Mapped[str]
    spec: Mapped[dict[str, Any]] = mapped_column(_Written)
    count: Mapped[int]
    priority: Mapped[int]
    max_concurrent: Mapped[int | None]
    tier: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    preemptible: Mapped[bool] = mapped_column(default=False, server_default=false())
    created_at: Mapped[datetime]


class RunRow(Base):
    """A run: its spec, where it is in its life, and the latest news of it. Its row is the lock of everything below it."""

    __tablename__ = "runs"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    owner_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"))
    sweep_id: Mapped[UUID | None] = mapped_column(ForeignKey("sweeps.id"))
    point: Mapped[int | None]
    variant: Mapped[str | None]
    set: Mapped[dict[str, Any]] = mapped_column(_Written, default=dict)
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
    nodes: Mapped[list[str] | None] = mapped_column(_Json)
    # The names of each rank's GPUs: where the plan expects it, then where Ray has put it. Null without GPUs.
    devices: Mapped[list[list[str]] | None] = mapped_column(_Json)
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


class MetricPointRow(Base):
    """Metrics of a run at one step; a resumed attempt repeats steps with equal values."""

    __tablename__ = "metric_points"

    run_id: Mapped[UUID] = mapped_column(primary_key=True)
    step: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    split: Mapped[str] = mapped_column(String(16), primary_key=True)
    epoch: Mapped[int]
    tokens: Mapped[int] = mapped_column(BigInteger)
    metrics: Mapped[dict[str, Any]]

    __table_args__ = (ForeignKeyConstraint(["run_id", "epoch"], ["attempts.run_id", "attempts.epoch"]),)


class BiasSnapshotRow(Base):
    """Bias statistics of a run at one step, and the few numbers of them that tables of results show."""

    __tablename__ = "bias_snapshots"

    run_id: Mapped[UUID] = mapped_column(primary_key=True)
    step: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    epoch: Mapped[int]
    tokens: Mapped[int] = mapped_column(BigInteger)
    statistics: Mapped[dict[str, Any]]
    summary: Mapped[dict[str, Any]]

    __table_args__ = (ForeignKeyConstraint(["run_id", "epoch"], ["attempts.run_id", "attempts.epoch"]),)


class DiagnosticsRow(Base):
    """What was measured of a run at one step beyond its metrics: a report of diagnostics without kind and step."""

    __tablename__ = "diagnostics"

    run_id: Mapped[UUID] = mapped_column(primary_key=True)
    step: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    epoch: Mapped[int]
    measured: Mapped[dict[str, Any]]

    __table_args__ = (ForeignKeyConstraint(["run_id", "epoch"], ["attempts.run_id", "attempts.epoch"]),)


class CheckpointRow(Base):
    """A checkpoint whose files and manifest are in the artifact store."""

    __tablename__ = "checkpoints"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    run_id: Mapped[UUID]
    epoch: Mapped[int]
    step: Mapped[int] = mapped_column(BigInteger)
    tokens: Mapped[int] = mapped_column(BigInteger)
    path: Mapped[str]
    files: Mapped[list[dict[str, Any]]]
    bytes: Mapped[int] = mapped_column(BigInteger)
    final: Mapped[bool]
    created_at: Mapped[datetime]

    __table_args__ = (
        ForeignKeyConstraint(["run_id", "epoch"], ["attempts.run_id", "attempts.epoch"]),
        UniqueConstraint("run_id", "step", "epoch"),
    )


class EventRow(Base):
    """One thing that happened to a run; every change of state writes one."""

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(_Serial, primary_key=True, autoincrement=True)
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


class UsageRow(Base):
    """What a user's attempts took of the cluster on one day (UTC): only ever added to, and decayed when it is read."""

    __tablename__ = "usage"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    gpu_seconds: Mapped[float] = mapped_column(Float(53))


class DrainRow(Base):
    """A node on which nothing more starts, by an administrator's wish."""

    __tablename__ = "drains"

    # The address of the node; or its name, where others are at that address.
    node: Mapped[str] = mapped_column(primary_key=True)
    # Whether what runs there is asked to checkpoint and go back to the queue.
    evict: Mapped[bool]
    reason: Mapped[str | None]
    created_at: Mapped[datetime]


class NodeRow(Base):
    """A node of the cluster, as the dispatcher last saw it."""

    __tablename__ = "nodes"

    name: Mapped[str] = mapped_column(primary_key=True)
    cpus: Mapped[float] = mapped_column(Float(53))
    gpus: Mapped[float] = mapped_column(Float(53))
    gpu_type: Mapped[str | None]
    memory_gb: Mapped[float] = mapped_column(Float(53))


class DispatcherRow(Base):
    """Who leads the dispatchers, until when, in which term, and the leader's last sign of life: one row."""

    __tablename__ = "dispatcher"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    holder: Mapped[str | None]
    term: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    lease_until: Mapped[datetime | None]
    seen_at: Mapped[datetime]


class IdempotencyRow(Base):
    """A POST that was answered, by user and Idempotency-Key, so that its repetition gets the same answer."""

    __tablename__ = "idempotency_keys"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), primary_key=True)
    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    body_sha256: Mapped[str] = mapped_column(String(64))
    response: Mapped[dict[str, Any] | None] = mapped_column(_Written)
    created_at: Mapped[datetime]
