"""The dispatcher grants the wishes that need no attempt, and ends the waits that are over: many runs at a time."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, insert, select, true, update
from sqlalchemy.orm import Session

from prolu.client.wire import DesiredState, RunState
from service.domain import lifecycle
from service.domain.lifecycle import Move
from service.store.db import database_now
from service.store.models import EventRow, RunRow

# So many of each kind in one transaction, so that it does not hold up the others.
_AT_ONCE = 2_000


def settle(session: Session) -> int:
    """Grant the wishes that need no attempt, and end the waits that are over. Returns how many runs moved."""
    now = database_now(session)
    return (
        _grant(session, "cancel", "cancelled", sorted(lifecycle.RESTING), true(), now=now)
        + _grant(session, "pause", "paused", ["queued", "retry_wait"], true(), now=now)
        + _grant(session, "requeue", "running", ["paused"], true(), now=now)
        + _grant(session, "requeue", "running", ["retry_wait"], RunRow.not_before <= now, now=now)
    )


def _grant(
    session: Session,
    chosen: Move,
    desired: DesiredState,
    resting: list[RunState],
    due: ColumnElement[bool],
    *,
    now: datetime,
) -> int:
    """Move the resting runs of which this is wished; who is held by somebody else has his turn next time."""
    rows = session.execute(
        select(RunRow.id, RunRow.state, RunRow.epoch)
        .where(RunRow.desired_state == desired, RunRow.state.in_(resting), due)
        .order_by(RunRow.id)
        .limit(_AT_ONCE)
        .with_for_update(key_share=True, skip_locked=True)
    ).all()
    if not rows:
        return 0
    (target,) = {lifecycle.apply(chosen, row.state) for row in rows}
    moved = update(RunRow).where(RunRow.id.in_([row.id for row in rows])).values(state=target, not_before=None)
    if target in lifecycle.TERMINAL:
        moved = moved.values(finished_at=now)
    if target == "queued":
        moved = moved.values(queued_at=now)
    session.execute(moved, execution_options={"synchronize_session": False})
    events = [
        {
            "run_id": row.id,
            "at": now,
            "kind": lifecycle.MOVES[chosen].event,
            "epoch": row.epoch or None,
            "detail": {"before": row.state},
        }
        for row in rows
    ]
    session.execute(insert(EventRow), events)
    return len(rows)
