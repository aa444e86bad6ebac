"""Series of metrics over the steps of runs, thinned by `service.domain.downsampling`: of several runs, or whole rows of one.

What limits it: every point of the span is read, of which a run has some hundreds or thousands, and only what is asked for of
each is taken out of its JSON, by the database.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from prolu.client.wire import MetricRead, MetricSeries, Page, SeriesRead, SeriesRequest
from service.domain.downsampling import kept
from service.domain.errors import Invalid, NotFound
from service.domain.filters import Condition
from service.store.filtering import RUNS, holds
from service.store.lists import measured_run
from service.store.models import FINDINGS, MetricPointRow

MOST_RUNS = 50
MOST_POINTS = 500_000

Split = Literal["train", "held_out"]


def series(session: Session, asked: SeriesRequest, condition: Condition | None) -> SeriesRead:
    """Each metric of each run. Raises NotFound for a run that is not there, Invalid for too many runs or points."""
    runs = _named(session, asked.run_ids) if asked.run_ids else _found(session, condition)
    bounds = within(asked.split, asked.from_step, asked.to_step)
    wanted = [_value(name).label(f"value_{index}") for index, name in enumerate(asked.names)]
    statement = (
        select(MetricPointRow.run_id, MetricPointRow.split, MetricPointRow.step, *wanted)
        .where(MetricPointRow.run_id.in_([run.measured_by for run in runs]), *bounds)
        .order_by(MetricPointRow.run_id, MetricPointRow.step)
        .limit(MOST_POINTS + 1)
    )
    points: dict[tuple[UUID, str], list[Any]] = {}
    for count, row in enumerate(session.execute(statement)):
        if count == MOST_POINTS:
            raise Invalid(
                f"These runs have more than {MOST_POINTS:,} points there; name fewer runs, or a span of steps."
            )
        points.setdefault((row.run_id, row.split), []).append(row)
    found = []
    for run in runs:
        for place, name in enumerate(asked.names, start=3):
            for split in ("held_out", "train"):
                rows = points.get((run.measured_by, split), [])
                steps, values = [row.step for row in rows], [row[place] for row in rows]
                if all(value is None for value in values):
                    continue
                chosen = kept(steps, values, asked.points)
                found.append(
                    MetricSeries(
                        run_id=run.id,
                        run_name=run.name,
                        name=name,
                        split=split,
                        steps=[steps[index] for index in chosen],
                        values=[values[index] for index in chosen],
                        measured=len(steps),
                    )
                )
    return SeriesRead(series=found)


def thinned(
    session: Session, run_id: UUID, *, names: Sequence[str], bounds: Sequence[ColumnElement[bool]], points: int
) -> Page[MetricRead]:
    """The points of a run at which any of the metrics (all, if none is named) has a point of its thinned series, whole.

    Raises NotFound, Invalid.
    """
    statement = select(MetricPointRow).where(MetricPointRow.run_id == measured_run(session, run_id), *bounds)
    rows = session.scalars(statement.order_by(MetricPointRow.step, MetricPointRow.split).limit(MOST_POINTS + 1)).all()
    if len(rows) > MOST_POINTS:
        raise Invalid(f"The run has more than {MOST_POINTS:,} points there; name a span of steps.")
    stay: set[int] = set()
    for split in ("train", "held_out"):
        places = [place for place, row in enumerate(rows) if row.split == split]
        steps = [rows[place].step for place in places]
        for name in names or dict.fromkeys(name for place in places for name in rows[place].metrics):
            values = [rows[place].metrics.get(name) for place in places]
            if any(value is not None for value in values):
                stay.update(places[index] for index in kept(steps, values, points))
    return Page(items=[read(rows[place], names) for place in sorted(stay)])


def within(split: Split | None, from_step: int | None, to_step: int | None) -> list[ColumnElement[bool]]:
    """Which points: of one split, and of a span of steps, both ends included."""
    bounds: list[ColumnElement[bool]] = [] if split is None else [MetricPointRow.split == split]
    bounds += [] if from_step is None else [MetricPointRow.step >= from_step]
    return bounds + ([] if to_step is None else [MetricPointRow.step <= to_step])


def read(row: MetricPointRow, names: Sequence[str] = ()) -> MetricRead:
    """A point as the API shows it, with all its metrics or those that are named."""
    values = {name: row.metrics[name] for name in names if name in row.metrics} if names else row.metrics
    return MetricRead.model_validate({"split": row.split, "step": row.step, "tokens": row.tokens, "values": values})


def _value(name: str) -> ColumnElement[Any]:
    value: ColumnElement[Any] = MetricPointRow.metrics[name].as_float()
    return value


class _Run(NamedTuple):
    id: UUID
    name: str
    measured_by: UUID
    """Itself, or the finished run that it refers to."""


_RUN = (FINDINGS.c.run_id, FINDINGS.c.name, func.coalesce(RUNS.c.reused_from, RUNS.c.id))


def _named(session: Session, run_ids: Sequence[UUID]) -> list[_Run]:
    rows = session.execute(select(*_RUN).join(RUNS, RUNS.c.id == FINDINGS.c.run_id).where(RUNS.c.id.in_(run_ids)))
    found = {row[0]: _Run(*row) for row in rows}
    for run_id in run_ids:
        if run_id not in found:
            raise NotFound(f"There is no run {run_id}; GET /v1/runs lists those that there are.")
    return [found[run_id] for run_id in dict.fromkeys(run_ids)]


def _found(session: Session, condition: Condition | None) -> list[_Run]:
    statement = select(*_RUN).select_from(FINDINGS.join(RUNS, RUNS.c.id == FINDINGS.c.run_id))
    if condition is not None:
        statement = statement.where(holds(condition))
    rows = session.execute(statement.order_by(FINDINGS.c.run_id.desc()).limit(MOST_RUNS + 1)).all()
    if len(rows) > MOST_RUNS:
        raise Invalid(f"The filter finds more than {MOST_RUNS} runs, too many for one chart; narrow it.")
    return [_Run(*row) for row in rows]
