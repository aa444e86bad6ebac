"""What runs measure and write."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKeyConstraint, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column
from uuid_utils.compat import uuid7

from service.store.models.base import Base


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
