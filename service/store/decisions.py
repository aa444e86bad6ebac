"""What people have decided of a run or a sweep so far, whose it is, and what limits its owner: read before it is changed.

In brief, as the log of changes tells it: wishes and places in the queue, never progress, which nobody decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.domain import lifecycle, tiers
from service.domain.errors import NotFound
from service.store.models import RunRow, SweepRow, UserRow
from service.store.sharing import editors_of

# So much of a note.
_BRIEF_CHARACTERS = 200


@dataclass(frozen=True)
class Decided:
    """Whose something is, and what was decided of it."""

    owner_id: UUID
    sweep_id: UUID | None
    brief: dict[str, Any]
    max_queued: int | None
    """Runs that its owner may have waiting, where that differs from what holds for everybody."""


def of_run(session: Session, run_id: UUID) -> Decided:
    """What was decided of a run. Raises NotFound."""
    row = session.execute(
        select(
            RunRow.owner_id,
            RunRow.sweep_id,
            RunRow.desired_state,
            RunRow.tier,
            RunRow.priority,
            RunRow.preemptible,
            RunRow.tags,
            RunRow.note,
            RunRow.pinned,
            RunRow.archived,
            UserRow.max_queued,
        )
        .join(UserRow, UserRow.id == RunRow.owner_id)
        .where(RunRow.id == run_id)
    ).one_or_none()
    if row is None:
        raise NotFound(f"There is no run {run_id}; GET /v1/runs lists those that there are.")
    brief = {
        "desired_state": row.desired_state,
        "tier": tiers.NAMES[row.tier],
        "priority": row.priority,
        "preemptible": row.preemptible,
        **_kept(row),
    }
    return Decided(row.owner_id, row.sweep_id, brief, row.max_queued)


def of_sweep(session: Session, sweep_id: UUID) -> Decided:
    """What was decided of a sweep and of its runs that have not ended. Raises NotFound."""
    row = session.execute(
        select(
            SweepRow.owner_id,
            SweepRow.name,
            SweepRow.count,
            SweepRow.tier,
            SweepRow.priority,
            SweepRow.preemptible,
            SweepRow.tags,
            SweepRow.note,
            SweepRow.pinned,
            SweepRow.archived,
            SweepRow.max_concurrent,
            UserRow.max_queued,
        )
        .join(UserRow, UserRow.id == SweepRow.owner_id)
        .where(SweepRow.id == sweep_id)
    ).one_or_none()
    if row is None:
        raise NotFound(f"There is no sweep {sweep_id}; GET /v1/sweeps lists those that there are.")
    wishes = session.execute(
        select(RunRow.desired_state, func.count().label("runs"))
        .where(RunRow.sweep_id == sweep_id, ~RunRow.superseded, RunRow.state.not_in(sorted(lifecycle.TERMINAL)))
        .group_by(RunRow.desired_state)
    )
    brief = {
        "name": row.name,
        "runs": row._mapping["count"],
        "tier": tiers.NAMES[row.tier],
        "priority": row.priority,
        "preemptible": row.preemptible,
        **_kept(row),
        "max_concurrent": row.max_concurrent,
        "desired_states": {row.desired_state: row.runs for row in wishes},
        "editors": editors_of(session, [sweep_id]).get(sweep_id, []),
    }
    return Decided(row.owner_id, sweep_id, brief, row.max_queued)


def _kept(row: Any) -> dict[str, Any]:
    note = row.note and row.note[:_BRIEF_CHARACTERS]
    return {"tags": row.tags, "note": note, "pinned": row.pinned, "archived": row.archived}
