"""What is measured of the queue and the cluster for whoever watches over them: few numbers, by user and state, never by run.

Made for being asked every few seconds: what is over is counted from an index alone, and what is not over are few rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import get_args
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from prolu.client.wire import NodeRead, RunState
from service.domain import lifecycle
from service.domain.planning.shares import charge_per_second
from service.store.db import database_now
from service.store.models import AttemptRow, DispatcherRow, RunRow, UsageRow, UserRow
from service.store.nodes import nodes

_NOT_OVER = sorted(set(get_args(RunState)) - lifecycle.TERMINAL)


@dataclass(frozen=True)
class Offer:
    """What the nodes of the cluster offer, in all."""

    nodes: int
    draining: int
    cpus: float
    gpus: Mapping[str, float]
    """By type; `""` where Ray does not say."""
    memory_gb: float


@dataclass(frozen=True)
class Figures:
    """Everything at one moment."""

    runs: Mapping[tuple[str, str], int]
    """Runs that are not over, by state and user."""
    oldest_wait_seconds: Mapping[str, float]
    """How long the run that has waited longest waits, by user."""
    attempts: Mapping[tuple[str, str], int]
    """Attempts that have ended, by outcome and failure class, which is `""` of those that ended well."""
    gpu_seconds: Mapping[str, float]
    """What was charged to users and what their live attempts have taken so far (see `service.domain.planning.shares`)."""
    offer: Offer
    term: int
    seen_at: datetime | None
    """Last sign of life of the leading dispatcher; None before the first."""


def figures(session: Session) -> Figures:
    """Take them all."""
    now = database_now(session)
    names = {row.id: row.name for row in session.execute(select(UserRow.id, UserRow.name))}
    runs: dict[tuple[str, str], int] = {}
    oldest: dict[str, float] = {}
    waiting = (
        select(RunRow.owner_id, RunRow.state, func.count().label("runs"), func.min(RunRow.queued_at).label("since"))
        .where(RunRow.state.in_(_NOT_OVER))
        .group_by(RunRow.owner_id, RunRow.state)
    )
    for row in session.execute(waiting):
        user = names[row.owner_id]
        runs[row.state, user] = row.runs
        if row.state == "queued":
            oldest[user] = max(0.0, (now - row.since).total_seconds())
    ended = (
        select(AttemptRow.outcome, AttemptRow.failure_class, func.count())
        .where(AttemptRow.finished_at.is_not(None))
        .group_by(AttemptRow.outcome, AttemptRow.failure_class)
    )
    dispatcher = session.scalars(select(DispatcherRow)).one_or_none()
    return Figures(
        runs=runs,
        oldest_wait_seconds=oldest,
        attempts={(outcome or "", failure or ""): count for outcome, failure, count in session.execute(ended)},
        gpu_seconds={names[user]: seconds for user, seconds in _gpu_seconds(session, now).items()},
        offer=_offer(nodes(session)),
        term=dispatcher.term if dispatcher else 0,
        seen_at=dispatcher.seen_at if dispatcher else None,
    )


def _gpu_seconds(session: Session, now: datetime) -> dict[UUID, float]:
    charged = select(UsageRow.user_id, func.sum(UsageRow.gpu_seconds)).group_by(UsageRow.user_id)
    took: dict[UUID, float] = defaultdict(float)
    took.update((user, seconds) for user, seconds in session.execute(charged))
    live = (
        select(RunRow.owner_id, RunRow.ranks, RunRow.cpus, RunRow.gpus, AttemptRow.started_at, AttemptRow.lease_until)
        .join(AttemptRow, AttemptRow.run_id == RunRow.id)
        .where(AttemptRow.finished_at.is_(None))
    )
    for row in session.execute(live):
        # No further than it would be charged if it were lost by now: what was counted is never taken back.
        seconds = max(0.0, (min(now, row.lease_until) - row.started_at).total_seconds())
        took[row.owner_id] += charge_per_second(cpus=row.cpus, gpus=row.gpus, ranks=row.ranks) * seconds
    return took


def _offer(nodes: Sequence[NodeRead]) -> Offer:
    gpus: dict[str, float] = defaultdict(float)
    for node in nodes:
        if node.gpus:
            gpus[node.gpu_type or ""] += node.gpus
    return Offer(
        nodes=len(nodes),
        draining=sum(node.draining for node in nodes),
        cpus=sum(node.cpus for node in nodes),
        gpus=gpus,
        memory_gb=sum(node.memory_gb for node in nodes),
    )
