"""Whether a run will say nothing more: where whoever follows it is told the end."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.domain import lifecycle
from service.domain.errors import NotFound
from service.store.models import AttemptRow, RunRow


def ended_in(session: Session, run_id: UUID, epoch: int | None = None) -> str | None:
    """The run's state if the run, or the attempt that is asked for, will report nothing more; None while it may.

    Ask before you read what was reported: what is committed before the end is seen then. Raises NotFound.
    """
    row = session.execute(
        select(RunRow.state, AttemptRow.finished_at)
        .outerjoin(AttemptRow, (AttemptRow.run_id == RunRow.id) & (AttemptRow.epoch == epoch))
        .where(RunRow.id == run_id)
    ).one_or_none()
    if row is None:
        raise NotFound(f"There is no run {run_id}; GET /v1/runs lists those that there are.")
    over = row.state in lifecycle.TERMINAL or row.finished_at is not None
    return row.state if over else None
