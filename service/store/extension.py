"""A sweep gets more points: those of its new description that it does not have yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Integer, Table, Uuid, bindparam, func, insert, literal, select, update
from sqlalchemy.orm import Session

from prolu.spec import SweepSpec
from service.domain import lifecycle
from service.domain.expansion import Point
from service.domain.growth import Growth, Present, growth
from service.store import reuse, searches
from service.store.db import database_now
from service.store.models import EventRow, RunRow, SweepRow
from service.store.submission import add_points, require_room
from service.store.turns import take_turn
from service.store.wishes import locked_sweep

_RUNS = cast("Table", RunRow.__table__)
_DESCRIBE = (
    update(_RUNS)
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


def extend_sweep(
    session: Session,
    sweep_id: UUID,
    *,
    spec: SweepSpec,
    points: Sequence[Point],
    highest_tier: int,
    most_waiting: int | None = None,
    reuse_finished: bool = False,
) -> None:
    """Give the sweep its new description and submit the points that come with it; those that are there stay.

    New runs are of the sweep's tier, or of `highest_tier` if that is lower. Another `max_concurrent` is an event of every run
    that has not ended, as another place in the queue is: whoever plans looks again. Raises NotFound, Invalid for points that the
    new description lacks, QueueFull where the owner would have more than `most_waiting` runs waiting.
    """
    sweep = locked_sweep(session, sweep_id)
    if most_waiting is not None:
        take_turn(session, sweep.owner_id)
    if spec.search is not None or sweep.spec.get("search") is not None:
        searches.extend(session, sweep, spec)
        _describe(session, sweep, spec)
        return
    grown = growth_of(session, sweep_id, points)
    if grown.described_anew:
        # In order of ids, as everybody who locks many runs does; by points a retried run would come out of turn.
        session.execute(
            select(RunRow.id)
            .where(RunRow.sweep_id == sweep_id, ~RunRow.superseded)
            .order_by(RunRow.id)
            .with_for_update(key_share=True)
        ).all()
        anew = [{"at_point": point, "described": dict(told)} for point, told in grown.described_anew.items()]
        session.connection().execute(_DESCRIBE, [{"of_sweep": sweep_id, **one} for one in anew])
    if grown.added:
        last = session.scalars(select(func.max(RunRow.point)).where(RunRow.sweep_id == sweep_id)).one()
        digests = [point.digest for point in grown.added]
        reused = reuse.held(session, digests, owner_id=sweep.owner_id) if reuse_finished else {}
        training = sum(point.digest not in reused for point in grown.added)
        require_room(session, sweep.owner_id, training, most=most_waiting)
        tier = min(sweep.tier, highest_tier)
        first = (-1 if last is None else last) + 1
        add_points(session, sweep, grown.added, first=first, tier=tier, reused=reused)
    sweep.count = len(points)
    _describe(session, sweep, spec)


def _describe(session: Session, sweep: SweepRow, spec: SweepSpec) -> None:
    if sweep.max_concurrent != spec.max_concurrent:
        _tell(session, sweep.id, {"max_concurrent": spec.max_concurrent})
    sweep.name, sweep.spec = spec.name, spec.model_dump(mode="json")
    sweep.max_concurrent = spec.max_concurrent
    sweep.early_stopping = None if spec.early_stopping is None else spec.early_stopping.model_dump(mode="json")
    session.flush()


def _tell(session: Session, sweep_id: UUID, changes: dict[str, Any]) -> None:
    told = (
        literal(database_now(session), RunRow.created_at.type),
        literal("changed"),
        literal(changes, EventRow.detail.type),
    )
    runs = (
        select(RunRow.id, *told, func.nullif(RunRow.epoch, 0))
        .where(RunRow.sweep_id == sweep_id, ~RunRow.superseded, RunRow.state.not_in(sorted(lifecycle.TERMINAL)))
        .order_by(RunRow.id)
    )
    session.execute(insert(EventRow).from_select(["run_id", "at", "kind", "detail", "epoch"], runs))
