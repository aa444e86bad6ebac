"""What single runs left behind, as the API shows it: attempts, events, series, diagnostics, checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from pydantic import TypeAdapter
from sqlalchemy import ColumnElement, func, select, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session

from prolu.client.wire import (
    AttemptRead,
    BiasSnapshotRead,
    CheckpointRead,
    DiagnosticsRead,
    EventRead,
    MetricRead,
    Page,
)
from service.domain.errors import NotFound
from service.store import pages, series
from service.store.lists import measured_run
from service.store.models import (
    AttemptRow,
    Base,
    BiasSnapshotRow,
    CheckpointRow,
    DiagnosticsRow,
    EventRow,
    MetricPointRow,
    RunRow,
)

Table = TypeVar("Table", bound=Base)
Item = TypeVar("Item")


def attempts(session: Session, run_id: UUID, *, limit: int, cursor: str | None) -> Page[AttemptRead]:
    """Every try at a run, the first one first. Raises NotFound."""
    place = (AttemptRow.epoch,)
    key = pages.BY_COUNT
    return _series(session, run_id, AttemptRow, place, key, _attempt, limit=limit, cursor=cursor, of_itself=True)


def events(session: Session, run_id: UUID, *, limit: int, cursor: str | None) -> Page[EventRead]:
    """Everything that happened to a run, in order. Raises NotFound."""
    place, key = (EventRow.id,), pages.BY_NUMBER
    return _series(session, run_id, EventRow, place, key, _event, limit=limit, cursor=cursor, of_itself=True)


def metrics(
    session: Session,
    run_id: UUID,
    *,
    bounds: Sequence[ColumnElement[bool]] = (),
    names: Sequence[str] = (),
    points: int | None = None,
    limit: int,
    cursor: str | None,
) -> Page[MetricRead]:
    """The metric series of a run within `series.within`, by step; of these metrics, or all; in at most so many points of each.

    Raises NotFound, Invalid.
    """
    if points is not None:
        return series.thinned(session, run_id, names=names, bounds=bounds, points=points)
    place, key = (MetricPointRow.step, MetricPointRow.split), pages.BY_STEP_AND_SPLIT
    item = partial(series.read, names=names)
    return _series(session, run_id, MetricPointRow, place, key, item, limit=limit, cursor=cursor, only=bounds)


def bias_statistics(
    session: Session, run_id: UUID, *, newest_first: bool = False, limit: int, cursor: str | None
) -> Page[BiasSnapshotRead]:
    """The bias statistics of a run, by step. Raises NotFound."""
    place, key = (BiasSnapshotRow.step,), pages.BY_NUMBER
    return _series(
        session, run_id, BiasSnapshotRow, place, key, _snapshot, limit=limit, cursor=cursor, falling=newest_first
    )


def diagnostics(session: Session, run_id: UUID, *, limit: int, cursor: str | None) -> Page[DiagnosticsRead]:
    """What was measured of a run beyond its metrics, by step. Raises NotFound."""
    place, key = (DiagnosticsRow.step,), pages.BY_NUMBER
    return _series(session, run_id, DiagnosticsRow, place, key, _diagnostics, limit=limit, cursor=cursor)


def checkpoints(session: Session, run_id: UUID, *, limit: int, cursor: str | None) -> Page[CheckpointRead]:
    """The checkpoints of a run, by step. Raises NotFound."""
    place, key = (CheckpointRow.step, CheckpointRow.epoch), pages.BY_STEP_AND_EPOCH
    only = [CheckpointRow.deleting_since.is_(None)]
    return _series(session, run_id, CheckpointRow, place, key, _checkpoint, limit=limit, cursor=cursor, only=only)


def all_checkpoints(
    session: Session,
    *,
    run_id: UUID | None = None,
    sweep_id: UUID | None = None,
    final: bool | None = None,
    pinned: bool | None = None,
    limit: int,
    cursor: str | None,
) -> Page[CheckpointRead]:
    """Checkpoints of all runs, those that were accepted last first; only those of which what is given holds.

    A run that refers to a finished one has that one's, alone and in its sweep.
    """
    measured_by = func.coalesce(RunRow.reused_from, RunRow.id)
    statement = select(CheckpointRow).where(CheckpointRow.deleting_since.is_(None))
    if run_id is not None:
        statement = statement.where(CheckpointRow.run_id.in_(select(measured_by).where(RunRow.id == run_id)))
    if sweep_id is not None:
        statement = statement.where(CheckpointRow.run_id.in_(select(measured_by).where(RunRow.sweep_id == sweep_id)))
    if final is not None:
        statement = statement.where(CheckpointRow.final if final else ~CheckpointRow.final)
    if pinned is not None:
        statement = statement.where(CheckpointRow.pinned if pinned else ~CheckpointRow.pinned)
    if cursor is not None:
        statement = statement.where(CheckpointRow.id < pages.decode(cursor, pages.BY_ID)[0])
    rows = session.scalars(statement.order_by(CheckpointRow.id.desc()).limit(limit + 1)).all()
    return pages.page(rows, limit, _checkpoint, lambda row: (row.id,))


def checkpoint(session: Session, checkpoint_id: UUID) -> tuple[CheckpointRead, str]:
    """One checkpoint, and its folder below the artifact root. Raises NotFound."""
    row = session.get(CheckpointRow, checkpoint_id)
    if row is None or row.deleting_since is not None:
        raise NotFound(f"There is no checkpoint {checkpoint_id}; GET /v1/runs/{{id}}/checkpoints lists those of a run.")
    return _checkpoint(row), row.path


def _series(
    session: Session,
    run_id: UUID,
    table: type[Table],
    place: tuple[InstrumentedAttribute[Any], ...],
    key: TypeAdapter[Any],
    item: Callable[[Table], Item],
    *,
    limit: int,
    cursor: str | None,
    only: Sequence[ColumnElement[bool]] = (),
    falling: bool = False,
    of_itself: bool = False,
) -> Page[Item]:
    """A page of the rows of a run, in the order of the columns `place`, which tell its rows apart. Raises NotFound.

    Of a run that refers to a finished one it gives that one's rows, unless they are `of_itself`.
    """
    source = measured_run(session, run_id)
    statement = select(table).where(table.__table__.c.run_id == (run_id if of_itself else source), *only)
    if cursor is not None:
        here, last = tuple_(*place), pages.decode(cursor, key)
        statement = statement.where(here < last if falling else here > last)
    order = [column.desc() if falling else column for column in place]
    rows = session.scalars(statement.order_by(*order).limit(limit + 1)).all()
    return pages.page(rows, limit, item, lambda row: tuple(getattr(row, column.key) for column in place))


def _attempt(row: AttemptRow) -> AttemptRead:
    return AttemptRead.model_validate(row, from_attributes=True)


def _event(row: EventRow) -> EventRead:
    return EventRead.model_validate(row, from_attributes=True)


def _snapshot(row: BiasSnapshotRow) -> BiasSnapshotRead:
    return BiasSnapshotRead.model_validate(row, from_attributes=True)


def _diagnostics(row: DiagnosticsRow) -> DiagnosticsRead:
    return DiagnosticsRead.model_validate({"run_id": row.run_id, "step": row.step, **row.measured})


def _checkpoint(row: CheckpointRow) -> CheckpointRead:
    return CheckpointRead.model_validate(row, from_attributes=True)
