"""What runs measure and write."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKeyConstraint, Index, String, UniqueConstraint, false, text
from sqlalchemy.orm import Mapped, mapped_column
from uuid_utils.compat import uuid7

from service.store.models.base import Base

_DELETED = text("deleting_since IS NOT NULL")


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
    # Kept whatever a policy says.
    pinned: Mapped[bool] = mapped_column(default=False, server_default=false())
    # Since when its files are being deleted: nobody is offered it from then on, and the row goes when they are gone.
    deleting_since: Mapped[datetime | None]
    created_at: Mapped[datetime]

    __table_args__ = (
        ForeignKeyConstraint(["run_id", "epoch"], ["attempts.run_id", "attempts.epoch"]),
        UniqueConstraint("run_id", "step", "epoch"),
        Index("ix_checkpoints_pinned", "id", sqlite_where=text("pinned"), postgresql_where=text("pinned")),
        Index("ix_checkpoints_deleting", "deleting_since", sqlite_where=_DELETED, postgresql_where=_DELETED),
    )
