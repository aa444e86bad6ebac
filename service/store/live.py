"""The attempts that hold runs, as the dispatcher and the plan see them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from prolu.client.wire import DesiredState, RunState
from service.domain import lifecycle
from service.domain.planning import Asked
from service.store.models import AttemptRow, RunRow, SweepRow, UserRow


@dataclass(frozen=True)
class LiveAttempt:
    """A run that an attempt works on, or is about to."""

    run_id: UUID
    epoch: int
    sweep_id: UUID | None
    owner: str
    state: RunState
    desired_state: DesiredState
    asked: Asked
    tier: int
    priority: int
    preemptible: bool
    waiting_since: datetime
    max_concurrent: int | None
    """Of its sweep."""
    step: int
    total_steps: int
    resumed_from_step: int | None
    run_limit_seconds: float | None
    start_limit_seconds: float | None
    no_progress_limit_seconds: float | None
    actor_name: str
    holder: str
    last_seq: int
    nodes: tuple[str, ...]
    """Of each rank, as far as they are known yet."""
    devices: tuple[tuple[str, ...], ...]
    """Of each rank: the GPUs that Ray gave it, or until it has said so those that it was planned for."""
    started_at: datetime
    news_at: datetime | None
    stop_reason: str | None
    stop_asked_at: datetime | None

    @property
    def unheard(self) -> bool:
        """Whether it has not said a word yet; it may be asked to stop already."""
        return not self.last_seq


def live(session: Session) -> list[LiveAttempt]:
    """Give every attempt that holds a run, oldest run first."""
    rows = session.execute(
        select(*_COLUMNS)
        .join(AttemptRow, and_(AttemptRow.run_id == RunRow.id, AttemptRow.epoch == RunRow.epoch))
        .join(UserRow, UserRow.id == RunRow.owner_id)
        .outerjoin(SweepRow, SweepRow.id == RunRow.sweep_id)
        .where(RunRow.state.in_(sorted(lifecycle.LIVE)))
        .order_by(RunRow.id)
    )
    return [
        LiveAttempt(
            run_id=row.id,
            epoch=row.epoch,
            sweep_id=row.sweep_id,
            owner=row.owner,
            state=row.state,
            desired_state=row.desired_state,
            asked=Asked(row.cpus, row.gpus, row.memory_gb, row.ranks, row.gpu_type),
            tier=row.tier,
            priority=row.priority,
            preemptible=row.preemptible,
            waiting_since=row.waiting_since,
            max_concurrent=row.max_concurrent,
            step=row.step,
            total_steps=row.total_steps,
            resumed_from_step=row.resumed_from_step,
            run_limit_seconds=row.run_limit_seconds,
            start_limit_seconds=row.start_limit_seconds,
            no_progress_limit_seconds=row.no_progress_limit_seconds,
            actor_name=row.actor_name,
            holder=row.holder,
            last_seq=row.last_seq,
            nodes=tuple(row.nodes or ([row.node] * row.ranks if row.node else [])),
            devices=tuple(map(tuple, row.devices or ())),
            started_at=row.attempt_started_at,
            news_at=row.news_at,
            stop_reason=row.stop_reason,
            stop_asked_at=row.stop_asked_at,
        )
        for row in rows
    ]


_COLUMNS = (
    RunRow.id,
    RunRow.epoch,
    RunRow.sweep_id,
    UserRow.name.label("owner"),
    RunRow.state,
    RunRow.desired_state,
    RunRow.cpus,
    RunRow.gpus,
    RunRow.memory_gb,
    RunRow.ranks,
    RunRow.gpu_type,
    RunRow.tier,
    RunRow.priority,
    RunRow.preemptible,
    RunRow.waiting_since,
    SweepRow.max_concurrent,
    RunRow.step,
    RunRow.total_steps,
    RunRow.run_limit_seconds,
    RunRow.start_limit_seconds,
    RunRow.no_progress_limit_seconds,
    AttemptRow.actor_name,
    AttemptRow.holder,
    AttemptRow.last_seq,
    AttemptRow.node,
    AttemptRow.nodes,
    AttemptRow.devices,
    AttemptRow.resumed_from_step,
    AttemptRow.started_at.label("attempt_started_at"),
    AttemptRow.news_at,
    AttemptRow.stop_reason,
    AttemptRow.stop_asked_at,
)
