"""The metrics of a run in the order in which they were committed.

One writer at a time reports for a run, holding its row; an attempt reports its steps in rising order, the training batch of a
step before or after the evaluation there; and an attempt that goes on after another repeats the steps since the checkpoint
that it began with, whose points then count as its own. So attempt and step tell how far a reader is, with what it has seen of
that step: whoever asks for what lies after that misses nothing.
"""

from __future__ import annotations

from typing import Literal, NamedTuple
from uuid import UUID

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from prolu.client.wire import FollowedToTheEnd, MetricRead
from service.store.endings import ended_in
from service.store.models import MetricPointRow, RunRow

AT_ONCE = 200

Split = Literal["train", "held_out"]


class Place(NamedTuple):
    """How far a reader of a run's metrics is."""

    epoch: int
    step: int
    seen: frozenset[str]
    """What it has of that step: training batch, evaluation, or both."""


BEGINNING = Place(0, -1, frozenset())


def news(
    session: Session, run_id: UUID, after: Place, *, split: Split | None
) -> tuple[list[tuple[Place, MetricRead]], FollowedToTheEnd | None]:
    """What was measured after a place, each point with its own, at most 200; and, after the last point of all, the end.

    Raises NotFound.
    """
    state = ended_in(session, run_id)
    present = session.scalar(select(RunRow.epoch).where(RunRow.id == run_id))
    here = (MetricPointRow.epoch, MetricPointRow.step)
    statement = select(MetricPointRow).where(MetricPointRow.run_id == run_id)
    if present == after.epoch:  # by far the most frequent case, which the primary key answers
        statement = statement.where(MetricPointRow.epoch == present, MetricPointRow.step >= after.step)
    else:
        statement = statement.where(tuple_(*here) >= (after.epoch, after.step))
    if split is not None:
        statement = statement.where(MetricPointRow.split == split)
    rows = session.scalars(statement.order_by(*here, MetricPointRow.split.desc()).limit(AT_ONCE)).all()
    found, place = [], after
    for row in rows:
        at = (row.epoch, row.step)
        if at == (after.epoch, after.step) and row.split in after.seen:
            continue
        seen = place.seen if at == (place.epoch, place.step) else frozenset[str]()
        place = Place(*at, seen | {row.split})
        point = {"split": row.split, "step": row.step, "tokens": row.tokens, "values": row.metrics}
        found.append((place, MetricRead.model_validate(point)))
    end = FollowedToTheEnd(state=state) if state is not None and len(rows) < AT_ONCE else None
    return found, end
