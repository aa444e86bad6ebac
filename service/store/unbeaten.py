"""The few of many runs that may be on a frontier, picked by the database: what is read is hundreds of rows, not ten thousand.

In each part, with its rows in the order of x and then y, the best first, only those are kept whose y is as good as any before.
That is the frontier, and of points that tie with it in y also those it betters in x: `prolu.spec.pareto` has the last word.
A row that lacks a number, or has one that is not finite, is in a part of such rows, of which one stands for all.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, and_, case, func, or_, select
from sqlalchemy.orm import Session

from service.domain.axes import Axis
from service.domain.filters import Column, Condition
from service.store.filtering import by_code_point
from service.store.succeeded import chosen

_LARGEST = sys.float_info.max


def unbeaten(
    session: Session,
    x: Axis,
    y: Axis,
    parts: Sequence[Column],
    *,
    condition: Condition | None,
    sweep_id: UUID | None,
    most: int,
) -> Sequence[Row[Any]]:
    """`DESCRIBED`, x, y and the columns `parts` of the runs kept, oldest first; whether it is `measured`; the `size` of its part.

    Of more than `most` runs only `most + 1` are looked at, which the sizes then tell.
    """
    columns = [x.column, y.column, *parts]
    seen = chosen(columns, condition=condition, sweep_id=sweep_id).limit(most + 1).subquery()
    here, there, *others = (seen.c[f"value_{place}"] for place in range(len(columns)))
    measured = case((and_(_is_finite(x, here), _is_finite(y, there)), 1), else_=0)
    part = [
        measured,
        *(by_code_point(one) if column.kind == "text" else one for column, one in zip(parts, others, strict=True)),
    ]
    before: dict[str, Any] = {
        "partition_by": part,
        "order_by": [_best_first(x, here), _best_first(y, there)],
        "rows": (None, -1),
    }
    ranked = select(
        *seen.c,
        measured.label("measured"),
        func.count().over(partition_by=part).label("size"),
        func.count().over(**before).label("place"),
        (func.min if y.goal == "lower" else func.max)(there).over(**before).label("best"),
    ).subquery()
    reached = ranked.c.value_1 <= ranked.c.best if y.goal == "lower" else ranked.c.value_1 >= ranked.c.best
    kept = or_(ranked.c.place == 0, and_(ranked.c.measured == 1, reached))
    return session.execute(select(ranked).where(kept).order_by(ranked.c.run_id)).all()


def _is_finite(axis: Axis, value: ColumnElement[Any]) -> ColumnElement[bool]:
    """PostgreSQL counts NaN as larger than any number; SQLite has none."""
    return value.is_not(None) if axis.column.kind == "integer" else value.between(-_LARGEST, _LARGEST)


def _best_first(axis: Axis, value: ColumnElement[Any]) -> ColumnElement[Any]:
    return value.asc() if axis.goal == "lower" else value.desc()
