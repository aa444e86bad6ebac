"""Sweeps that search: what was asked and told; and the judgements by which runs are stopped early."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import BigInteger, Float, ForeignKey, Index, String, false, text
from sqlalchemy.orm import Mapped, mapped_column

from prolu.client.wire import SearchState, TrialState
from service.store.models.base import Base, Json, Written

_OPEN = text("state <> 'ended'")


class SearchRow(Base):
    """How far the search of a sweep is. Its row is the lock of its trials."""

    __tablename__ = "searches"

    sweep_id: Mapped[UUID] = mapped_column(ForeignKey("sweeps.id"), primary_key=True)
    state: Mapped[SearchState] = mapped_column(String(16))
    # Trials that there are; the next one's number.
    asked: Mapped[int] = mapped_column(default=0)
    # Tells that there were, which rises when a trial that was tried again is told anew.
    told: Mapped[int] = mapped_column(default=0)
    # Whether its points may refer to finished runs.
    reuse: Mapped[bool] = mapped_column(default=False, server_default=false())

    __table_args__ = (Index("ix_searches_open", "sweep_id", sqlite_where=_OPEN, postgresql_where=_OPEN),)


class TrialRow(Base):
    """One point that a sampler asked for, and what came of it: all that a study is rebuilt from."""

    __tablename__ = "trials"

    sweep_id: Mapped[UUID] = mapped_column(ForeignKey("searches.sweep_id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[TrialState] = mapped_column(String(16))
    # By path, as a run has them; and as the sampler has them, where a choice is an index, with their distributions.
    set: Mapped[dict[str, Any]] = mapped_column(Written)
    params: Mapped[dict[str, Any]] = mapped_column(Written)
    distributions: Mapped[dict[str, Any]] = mapped_column(Written)
    # What the sampler noted of it, such as its generation.
    attributes: Mapped[dict[str, Any]] = mapped_column(Written)
    values: Mapped[list[float] | None] = mapped_column(Json)
    # Of one that was stopped early: its last value of the metric that was judged, and at which step.
    intermediate: Mapped[list[float] | None] = mapped_column(Json)
    message: Mapped[str | None]
    run_id: Mapped[UUID | None] = mapped_column(ForeignKey("runs.id"))
    # The trial that has the same point, whose run is its run.
    same_as: Mapped[int | None]
    # How many tells its sampler knew; and which of the tells it was itself.
    asked_after: Mapped[int]
    told: Mapped[int | None]
    asked_at: Mapped[datetime]
    told_at: Mapped[datetime | None]


class JudgementRow(Base):
    """What early stopping decided of a run at a step; nothing is decided twice."""

    __tablename__ = "judgements"

    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    step: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    sweep_id: Mapped[UUID] = mapped_column(ForeignKey("sweeps.id"))
    # Of halving, the rung that the run has come to.
    rung: Mapped[int | None]
    value: Mapped[float] = mapped_column(Float(53))
    verdict: Mapped[Literal["go_on", "stop"]] = mapped_column(String(16))
    at: Mapped[datetime]

    __table_args__ = (Index("ix_judgements_sweep_id_step", "sweep_id", "step"),)
