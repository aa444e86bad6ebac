"""The few of many runs that may be on a frontier, picked by the database: what is read is hundreds of rows, not ten thousand.

In each part, with its rows in the order of x and then y, the best first, only those are kept whose y is as good as any before.
That is the frontier, and of points that tie with it in y also those it betters in x: `prolu.spec.pareto` has the last word.
A run that lacks a number, or has one that is not finite, is only counted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, and_, case, func, literal, null, or_, select, union_all
from sqlalchemy.orm import Session

from service.domain.axes import Axis
from service.domain.filters import Column, Condition
from service.store.filtering import by_code_point
from service.store.succeeded import DESCRIBED, chosen

_LARGEST = sys.float_info.max


class Kept(NamedTuple):
    """A run that may be on the frontier of its part."""

    run_id: UUID | str
    """As the driver gives it."""
    x: float
    y: float
    part: tuple[Any, ...]


@dataclass(frozen=True)
class Unbeaten:
    """What may be on a frontier, and how many runs there are."""

    kept: Sequence[Kept]
    """Oldest first."""
    sizes: Sequence[tuple[tuple[Any, ...], int]]
    """Each part, by its columns, and its runs that have both numbers."""
    left_out: int
    """Runs that lack a number."""


def unbeaten(
    session: Session,
    x: Axis,
    y: Axis,
    parts: Sequence[Column],
    *,
    condition: Condition | None,
    sweep_id: UUID | None,
    most: int,
) -> Unbeaten:
    """Pick them. Of more than `most` runs only `most + 1` are looked at, which the sizes then tell."""
    columns = [x.column, y.column, *parts]
    chosen_runs = chosen(columns, condition=condition, sweep_id=sweep_id, told=DESCRIBED[:1]).limit(most + 1).subquery()
    here, there = chosen_runs.c.value_0, chosen_runs.c.value_1
    measured = case((and_(_is_finite(x, here), _is_finite(y, there)), 1), else_=0).label("measured")
    # Nothing but numbers: SQLite is slower by half with every column of a run in its sort.
    seen = select(*chosen_runs.c, measured).cte("seen").prefix_with("MATERIALIZED")
    others = [seen.c[f"value_{place}"] for place in range(2, len(columns))]
    before: dict[str, Any] = {
        "partition_by": [
            by_code_point(one) if column.kind == "text" else one for column, one in zip(parts, others, strict=True)
        ],
        "order_by": [_best_first(x, seen.c.value_0), _best_first(y, seen.c.value_1)],
        "rows": (None, -1),
    }
    best = (func.min if y.goal == "lower" else func.max)(seen.c.value_1).over(**before)
    ranked = select(*seen.c, best.label("best")).where(seen.c.measured == 1).subquery()
    reached = ranked.c.value_1 <= ranked.c.best if y.goal == "lower" else ranked.c.value_1 >= ranked.c.best
    kept = select(*(ranked.c[column.name] for column in seen.c), literal(0).label("size")).where(
        or_(ranked.c.best.is_(None), reached)
    )
    sizes = select(null(), null(), null(), *others, seen.c.measured, func.count()).group_by(*others, seen.c.measured)
    rows = session.execute(union_all(kept, sizes).order_by("run_id")).all()
    counted = [row for row in rows if row.run_id is None]
    return Unbeaten(
        kept=[Kept(row.run_id, row.value_0, row.value_1, tuple(row[3:-2])) for row in rows if row.run_id is not None],
        sizes=[(tuple(row[3:-2]), row.size) for row in counted if row.measured],
        left_out=sum(row.size for row in counted if not row.measured),
    )


def _is_finite(axis: Axis, value: ColumnElement[Any]) -> ColumnElement[bool]:
    """PostgreSQL counts NaN as larger than any number; SQLite has none."""
    return value.is_not(None) if axis.column.kind == "integer" else value.between(-_LARGEST, _LARGEST)


def _best_first(axis: Axis, value: ColumnElement[Any]) -> ColumnElement[Any]:
    return value.asc() if axis.goal == "lower" else value.desc()
