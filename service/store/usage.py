"""What users took of the cluster: written when attempts end, read for the shares.

A day's usage only ever grows, so writers add to it and never read it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.domain.planning.shares import charge_per_second, decayed
from service.store.db import dialect_insert
from service.store.models import AttemptRow, RunRow, UsageRow, UserRow

# Older days count less than a thousandth.
_HALF_LIVES_THAT_COUNT = 10


def charge(session: Session, ended: Sequence[tuple[RunRow, AttemptRow]]) -> None:
    """Charge attempts that have ended to the owners of their runs, each day's part to that day."""
    took: dict[tuple[UUID, date], float] = defaultdict(float)
    for run, attempt in ended:
        if attempt.finished_at is None:
            raise ValueError(f"Attempt {attempt.epoch} of run {run.id} has not ended; charge it when it has.")
        per_second = charge_per_second(cpus=run.cpus, gpus=run.gpus, ranks=run.ranks)
        # Of one that was lost nobody knows how long it worked, but not beyond its lease: nobody had heard of it since.
        lost = attempt.outcome == "lost"
        ended_at = min(attempt.finished_at, attempt.lease_until) if lost else attempt.finished_at
        for day, seconds in _by_day(attempt.started_at, ended_at):
            took[run.owner_id, day] += seconds * per_second
    if not took:
        return
    statement = dialect_insert(session, UsageRow)
    added = statement.on_conflict_do_update(
        index_elements=["user_id", "day"],
        set_={"gpu_seconds": UsageRow.gpu_seconds + statement.excluded.gpu_seconds},
    )
    # In one order, so that two who charge the same users wait for each other and do not block each other.
    rows = [{"user_id": user, "day": day, "gpu_seconds": seconds} for (user, day), seconds in sorted(took.items())]
    session.execute(added, rows)


def decayed_usage(session: Session, *, now: datetime, half_life_seconds: float) -> dict[str, float]:
    """Give each user's GPU-seconds of finished attempts, where a day counts by the age of its middle."""
    first = (now - timedelta(seconds=_HALF_LIVES_THAT_COUNT * half_life_seconds)).date()
    rows = session.execute(
        select(UserRow.name, UsageRow.day, UsageRow.gpu_seconds)
        .join(UserRow, UserRow.id == UsageRow.user_id)
        .where(UsageRow.day >= first)
    )
    usage: dict[str, float] = defaultdict(float)
    for name, day, seconds in rows:
        began = datetime.combine(day, time.min, UTC)
        middle = began + (min(now, began + timedelta(days=1)) - began) / 2
        age = max(0.0, (now - middle).total_seconds())
        usage[name] += decayed(seconds, seconds=age, half_life_seconds=half_life_seconds)
    return dict(usage)


def weights(session: Session) -> Mapping[str, float]:
    """What is each user's of the cluster, against the others."""
    return {row.name: row.weight for row in session.execute(select(UserRow.name, UserRow.weight))}


def _by_day(began: datetime, ended: datetime) -> Iterator[tuple[date, float]]:
    while began < ended:
        midnight = datetime.combine(began.date() + timedelta(days=1), time.min, UTC)
        yield began.date(), (min(ended, midnight) - began).total_seconds()
        began = midnight
