"""The metrics of all runs of a sweep, as one series of news: of each run in the order in which they were committed.

Two runs report at the same time, each in transactions of its own, and no number tells which was first. So a place in the whole
is a place in each run: whoever asks for what lies after it misses nothing of any, whatever was committed in between. A look asks
once what all runs have heard from, and then only those that have heard something since.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from prolu.client.wire import SweepFollowedToTheEnd, SweepMetricRead
from service.domain import lifecycle
from service.store import metric_news
from service.store.metric_news import BEGINNING, Split
from service.store.metric_news import Place as PlaceInRun
from service.store.models import AttemptRow, RunRow, SearchRow

AT_ONCE = 1_000
# As many runs are looked into at once, whether anything is found or not: a stream shares its threads with all others.
RUNS_AT_ONCE = 50


class Going(NamedTuple):
    """A run of which something was told, and more may come."""

    place: PlaceInRun
    """What was told."""
    heard: tuple[int, int] | None = None
    """Attempt and report up to which nothing more is there to tell; None where that is not known."""


@dataclass(frozen=True)
class Place:
    """How far a reader of a sweep's metrics is."""

    runs: tuple[UUID, ...] = ()
    """The runs that there were, by id."""
    told: frozenset[UUID] = frozenset()
    """Those of which everything was told."""
    going: frozenset[tuple[UUID, Going]] = frozenset()
    """Those of which something was, or that were looked into in vain."""


@dataclass(frozen=True)
class SweepNews:
    """What a look found."""

    points: list[SweepMetricRead]
    place: Place
    """After them."""
    more: bool
    """Whether there may be more at once."""
    end: SweepFollowedToTheEnd | None


def runs_of(session: Session, sweep_id: UUID) -> tuple[UUID, ...]:
    """The runs of a sweep by id, as places have them."""
    return tuple(sorted(session.scalars(select(RunRow.id).where(RunRow.sweep_id == sweep_id))))


def news(session: Session, sweep_id: UUID, after: Place, *, split: Split | None) -> SweepNews:
    """What was measured after a place, at most a little over a thousand points; and, after the last of all, the end."""
    searches = session.scalar(select(SearchRow.state).where(SearchRow.sweep_id == sweep_id))
    rows = session.execute(
        select(RunRow.id, RunRow.state, RunRow.epoch, RunRow.point, AttemptRow.last_seq)
        .outerjoin(AttemptRow, (AttemptRow.run_id == RunRow.id) & (AttemptRow.epoch == RunRow.epoch))
        .where(RunRow.sweep_id == sweep_id)
    ).all()
    runs = sorted(rows, key=lambda row: row.id)
    told, going = set(after.told), dict(after.going)
    points: list[SweepMetricRead] = []
    looked = 0
    for run in runs:
        over, heard = run.state in lifecycle.TERMINAL, (run.epoch, run.last_seq or 0)
        reached = going.get(run.id, Going(BEGINNING))
        if run.id in told or (reached.heard == heard and not over) or (run.epoch == 0 and not over):
            continue
        if run.epoch == 0:  # it ended before it began
            told.add(run.id)
            continue
        if looked == RUNS_AT_ONCE or len(points) >= AT_ONCE:
            break
        looked += 1
        found, end = metric_news.news(session, run.id, reached.place, split=split)
        points += [SweepMetricRead(run_id=run.id, point=run.point, **dict(point)) for _, point in found]
        if end is not None:
            told.add(run.id)
            going.pop(run.id, None)
        else:
            here = found[-1][0] if found else reached.place
            # Of the rows that were read, those of its last step may have been known already.
            whole = len(found) < metric_news.AT_ONCE - len(reached.place.seen)
            going[run.id] = Going(here, heard if whole else None)
    more = bool(looked) and (looked == RUNS_AT_ONCE or len(points) >= AT_ONCE)
    place = Place(tuple(run.id for run in runs), frozenset(told), frozenset(going.items()))
    ended = len(told) == len(runs) and searches in (None, "ended")
    return SweepNews(points, place, more, SweepFollowedToTheEnd(runs=len(runs)) if ended else None)
