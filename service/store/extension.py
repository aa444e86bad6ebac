"""A sweep gets more points: those of its new description that it does not have yet."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Integer, Uuid, bindparam, func, select, update
from sqlalchemy.orm import Session

from prolu.spec import SweepSpec
from service.domain.expansion import Point
from service.domain.growth import Growth, Present, growth
from service.store.models import RunRow
from service.store.submission import add_points
from service.store.wishes import locked_sweep

_RUNS = RunRow.__table__
_DESCRIBE = (
    update(RunRow.__table__)  # type: ignore[arg-type]
    .where(
        _RUNS.c.sweep_id == bindparam("of_sweep", type_=Uuid()),
        _RUNS.c.point == bindparam("at_point", type_=Integer()),
        ~_RUNS.c.superseded,
    )
    .values(set=bindparam("described", type_=_RUNS.c.set.type))
)


def growth_of(session: Session, sweep_id: UUID, points: Sequence[Point]) -> Growth:
    """Compare the points of a new description with those of the sweep. Raises Invalid for points that it lacks."""
    rows = session.execute(
        select(RunRow.point, RunRow.digest, RunRow.variant, RunRow.set)
        .where(RunRow.sweep_id == sweep_id, ~RunRow.superseded)
        .order_by(RunRow.point)
    )
    return growth(points, [Present(row.point, row.digest, row.variant, row.set) for row in rows])


def extend_sweep(session: Session, sweep_id: UUID, *, spec: SweepSpec, points: Sequence[Point]) -> None:
    """Give the sweep its new description and submit the points that come with it; those that are there stay.

    Raises NotFound, and Invalid for points that the new description lacks.
    """
    sweep = locked_sweep(session, sweep_id)
    grown = growth_of(session, sweep_id, points)
    if grown.described_anew:
        anew = [{"at_point": point, "described": dict(told)} for point, told in grown.described_anew.items()]
        session.connection().execute(_DESCRIBE, [{"of_sweep": sweep_id, **one} for one in anew])
    if grown.added:
        last = session.scalars(select(func.max(RunRow.point)).where(RunRow.sweep_id == sweep_id)).one()
        add_points(session, sweep, grown.added, first=(-1 if last is None else last) + 1)
    sweep.name, sweep.spec = spec.name, spec.model_dump(mode="json")
    sweep.max_concurrent = spec.max_concurrent
    sweep.count = len(points)
    session.flush()
