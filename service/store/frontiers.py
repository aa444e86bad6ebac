"""The Pareto frontiers of runs that a filter or a sweep chose.

What limits it: one row of about 400 bytes is read per run, and sorted, by the database, which hands over what may be on a
frontier. Where the points that others better are asked for, or means, each row becomes a Python tuple and is sorted here. To
average over seeds, what is equal in the specs of repetitions is worked out by the database, which opens every spec.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.orm import Session

from prolu.client.wire import FrontierAxis, FrontierFamily, FrontierPoint, FrontierRead
from service.domain.asking import FrontierQuestion
from service.domain.frontiers import Measured, Placed, Point, averaged, fronts, is_measured, singly
from service.domain.repeats import estimate
from service.store.lists import require_sweep
from service.store.succeeded import DESCRIBED, described, identity, level_of, require_few, succeeded
from service.store.unbeaten import unbeaten

MOST_RUNS = 50_000


def frontier(session: Session, asked: FrontierQuestion, *, sweep_id: UUID | None = None) -> FrontierRead:
    """The frontier of each family. Raises NotFound for a sweep that is not there, Invalid for more runs than are read."""
    if sweep_id is not None:
        require_sweep(session, sweep_id)
    request = asked.request
    repeated = request.seeds == "mean"
    found = (
        _of_all(session, asked, sweep_id) if repeated or request.dominated else _of_unbeaten(session, asked, sweep_id)
    )
    shown = {row[0]: row for row in found.rows}
    return FrontierRead(
        x=FrontierAxis(path=asked.x.column.name, goal=asked.x.goal),
        y=FrontierAxis(path=asked.y.column.name, goal=asked.y.goal),
        by=request.by,
        seeds=request.seeds,
        families=[
            FrontierFamily(
                family=front.family,
                count=found.counts[front.family],
                points=[_shown(one, shown, repeated=repeated) for one in front.points],
            )
            for front in fronts(found.points, x=asked.x.goal, y=asked.y.goal, dominated=request.dominated)
        ],
        left_out=found.left_out,
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """What frontiers are made of: points and the rows that describe their runs, and how many points there are in all."""

    points: list[Point]
    rows: Sequence[Row[Any]]
    counts: Counter[str | None]
    left_out: int


def _of_unbeaten(session: Session, asked: FrontierQuestion, sweep_id: UUID | None) -> _Found:
    parts = asked.division.columns
    found = unbeaten(session, asked.x, asked.y, parts, condition=asked.condition, sweep_id=sweep_id, most=MOST_RUNS)
    family_of = cache(asked.division.name_of)
    counts = Counter[str | None]()
    for part, size in found.sizes:
        counts[family_of(part)] += size
    require_few(counts.total() + found.left_out, MOST_RUNS)
    points = [Measured(one.run_id, family_of(one.part), one.x, one.y) for one in found.kept]
    return _Found(singly(points), described(session, [one.run_id for one in found.kept]), counts, found.left_out)


def _of_all(session: Session, asked: FrontierQuestion, sweep_id: UUID | None) -> _Found:
    repeated = asked.request.seeds == "mean"
    columns = [asked.x.column, asked.y.column, *asked.division.columns]
    rows = succeeded(session, columns, condition=asked.condition, sweep_id=sweep_id, most=MOST_RUNS, repeated=repeated)
    first = len(DESCRIBED)
    last = first + len(columns)
    family_of = cache(asked.division.name_of)
    measured = [
        Measured(row[0], family_of(row[first + 2 : last]), row[first], row[first + 1], *row[last:])
        for row in rows
        if is_measured(row[first], row[first + 1])
    ]
    points = averaged(measured) if repeated else singly(measured)
    counts = Counter(point.runs[0].family for point in points)
    return _Found(points, rows, counts, len(rows) - len(measured))


def _shown(placed: Placed, described: dict[UUID | str, Row[Any]], *, repeated: bool) -> FrontierPoint:
    point = placed.point
    row = described[point.runs[0].run_id]
    return FrontierPoint(
        run_ids=[identity(run.run_id) for run in point.runs],
        name=row.name,
        level=level_of(row),
        x=point.x,
        y=point.y,
        x_estimate=estimate([run.x for run in point.runs]) if repeated else None,
        y_estimate=estimate([run.y for run in point.runs]) if repeated else None,
        dominated=placed.dominated,
        overall=placed.overall,
    )
