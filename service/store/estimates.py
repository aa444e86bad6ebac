"""How long runs take: by their own progress, else as others of their sweep took, else as long as they may."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.store.live import LiveAttempt
from service.store.models import AttemptRow, RunRow

# Of the attempts that succeeded, so many of the last ones tell how fast the runs of a sweep are.
_ATTEMPTS_THAT_TELL = 500
_AT_ONCE = 500


def remaining(live: Sequence[LiveAttempt], paces: dict[UUID, float], now: datetime) -> dict[UUID, float]:
    """Give the seconds that each live attempt still needs, as far as that can be told; `paces` are seconds per step by sweep."""
    found: dict[UUID, float] = {}
    for one in live:
        ran = (now - one.started_at).total_seconds()
        pace = own_pace(one, now) or (paces.get(one.sweep_id) if one.sweep_id else None)
        if pace is not None:
            found[one.run_id] = pace * max(0, one.total_steps - one.step)
        if one.run_limit_seconds is not None:
            left = max(0.0, one.run_limit_seconds - ran)
            found[one.run_id] = min(left, found.get(one.run_id, left))
    return found


def durations(session: Session, run_ids: Sequence[UUID], paces: dict[UUID, float]) -> dict[UUID, float]:
    """Give the seconds that waiting runs will take, as far as that can be told."""
    found: dict[UUID, float] = {}
    for begin in range(0, len(run_ids), _AT_ONCE):
        rows = session.execute(
            select(RunRow.id, RunRow.sweep_id, RunRow.total_steps, RunRow.step, RunRow.run_limit_seconds).where(
                RunRow.id.in_(run_ids[begin : begin + _AT_ONCE])
            )
        )
        for run_id, sweep_id, total, step, limit in rows:
            if sweep_id in paces:
                found[run_id] = paces[sweep_id] * max(0, total - step)
            if limit is not None:
                found[run_id] = min(limit, found.get(run_id, limit))
    return found


def paces_of(
    session: Session, sweep_ids: Iterable[UUID | None], live: Sequence[LiveAttempt], now: datetime
) -> dict[UUID, float]:
    """Give the mean seconds per step of each sweep's attempts that succeeded lately, or else of those that train."""
    seconds: dict[UUID, list[float]] = defaultdict(list)
    of_sweeps = [sweep_id for sweep_id in set(sweep_ids) if sweep_id is not None]
    rows = session.execute(
        select(
            RunRow.sweep_id,
            RunRow.total_steps,
            AttemptRow.resumed_from_step,
            AttemptRow.started_at,
            AttemptRow.finished_at,
        )
        .join(AttemptRow, AttemptRow.run_id == RunRow.id)
        .where(
            RunRow.sweep_id.in_(of_sweeps),
            RunRow.state == "succeeded",
            AttemptRow.outcome == "succeeded",
        )
        .order_by(RunRow.id.desc())
        .limit(_ATTEMPTS_THAT_TELL)
    )
    for sweep_id, total, resumed, began, ended in rows:
        steps = total - (resumed or 0)
        if sweep_id is not None and steps > 0 and ended is not None:
            seconds[sweep_id].append((ended - began).total_seconds() / steps)
    for one in live:
        pace = own_pace(one, now)
        if one.sweep_id is not None and pace is not None and not seconds[one.sweep_id]:
            seconds[one.sweep_id].append(pace)
    return {sweep_id: sum(found) / len(found) for sweep_id, found in seconds.items() if found}


def own_pace(one: LiveAttempt, now: datetime) -> float | None:
    """Seconds per step of a live attempt; None before its first step."""
    steps = one.step - (one.resumed_from_step or 0)
    if steps <= 0 or one.news_at is None:
        return None
    return max(0.0, (min(now, one.news_at) - one.started_at).total_seconds()) / steps
