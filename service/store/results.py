"""What runs left behind, as the API shows it: attempts, events, series, checkpoints, and the table of a sweep."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from sqlalchemy import func, select, tuple_
from sqlalchemy.orm import Session

from prolu.client.wire import (
    AttemptRead,
    BiasSnapshotRead,
    CheckpointRead,
    EventRead,
    MetricRead,
    Page,
    ResultRow,
)
from service.domain.errors import NotFound
from service.store import pages
from service.store.lists import owner_of, require_sweep
from service.store.models import (
    AttemptRow,
    BiasSnapshotRow,
    CheckpointRow,
    EventRow,
    MetricPointRow,
    RunRow,
)


def attempts(session: Session, run_id: UUID, *, limit: int, cursor: str | None) -> Page[AttemptRead]:
    """Every try at a run, the first one first. Raises NotFound."""
    owner_of(session, run_id)
    statement = select(AttemptRow).where(AttemptRow.run_id == run_id)
    if cursor is not None:
        statement = statement.where(AttemptRow.epoch > pages.decode(cursor, pages.BY_NUMBER)[0])
    rows = session.scalars(statement.order_by(AttemptRow.epoch).limit(limit + 1)).all()
    return pages.page(rows, limit, _attempt, lambda row: (row.epoch,))


def events(session: Session, run_id: UUID, *, limit: int, cursor: str | None) -> Page[EventRead]:
    """Everything that happened to a run, in order. Raises NotFound."""
    owner_of(session, run_id)
    statement = select(EventRow).where(EventRow.run_id == run_id)
    if cursor is not None:
        statement = statement.where(EventRow.id > pages.decode(cursor, pages.BY_NUMBER)[0])
    rows = session.scalars(statement.order_by(EventRow.id).limit(limit + 1)).all()
    return pages.page(rows, limit, _event, lambda row: (row.id,))


def metrics(
    session: Session,
    run_id: UUID,
    *,
    split: Literal["train", "held_out"] | None = None,
    limit: int,
    cursor: str | None,
) -> Page[MetricRead]:
    """The metric series of a run, by step. Raises NotFound."""
    owner_of(session, run_id)
    place = tuple_(MetricPointRow.step, MetricPointRow.split)
    statement = select(MetricPointRow).where(MetricPointRow.run_id == run_id)
    if split is not None:
        statement = statement.where(MetricPointRow.split == split)
    if cursor is not None:
        statement = statement.where(place > pages.decode(cursor, pages.BY_STEP_AND_SPLIT))
    rows = session.scalars(statement.order_by(MetricPointRow.step, MetricPointRow.split).limit(limit + 1)).all()
    return pages.page(rows, limit, _metric, lambda row: (row.step, row.split))


def bias_statistics(
    session: Session, run_id: UUID, *, newest_first: bool = False, limit: int, cursor: str | None
) -> Page[BiasSnapshotRead]:
    """The bias statistics of a run, by step. Raises NotFound."""
    owner_of(session, run_id)
    statement = select(BiasSnapshotRow).where(BiasSnapshotRow.run_id == run_id)
    if cursor is not None:
        (step,) = pages.decode(cursor, pages.BY_NUMBER)
        statement = statement.where(BiasSnapshotRow.step < step if newest_first else BiasSnapshotRow.step > step)
    order = BiasSnapshotRow.step.desc() if newest_first else BiasSnapshotRow.step
    rows = session.scalars(statement.order_by(order).limit(limit + 1)).all()
    return pages.page(rows, limit, _snapshot, lambda row: (row.step,))


def checkpoints(session: Session, run_id: UUID, *, limit: int, cursor: str | None) -> Page[CheckpointRead]:
    """The checkpoints of a run, by step. Raises NotFound."""
    owner_of(session, run_id)
    place = tuple_(CheckpointRow.step, CheckpointRow.epoch)
    statement = select(CheckpointRow).where(CheckpointRow.run_id == run_id)
    if cursor is not None:
        statement = statement.where(place > pages.decode(cursor, pages.BY_STEP_AND_EPOCH))
    rows = session.scalars(statement.order_by(CheckpointRow.step, CheckpointRow.epoch).limit(limit + 1)).all()
    return pages.page(rows, limit, _checkpoint, lambda row: (row.step, row.epoch))


def checkpoint(session: Session, checkpoint_id: UUID) -> tuple[CheckpointRead, str]:
    """One checkpoint, and its folder below the artifact root. Raises NotFound."""
    row = session.get(CheckpointRow, checkpoint_id)
    if row is None:
        raise NotFound(f"There is no checkpoint {checkpoint_id}; GET /v1/runs/{{id}}/checkpoints lists those of a run.")
    return _checkpoint(row), row.path


def sweep_results(session: Session, sweep_id: UUID, *, limit: int, cursor: str | None) -> Page[ResultRow]:
    """One row per run of a sweep, by point: settings, final metrics, last bias statistics in brief. Raises NotFound."""
    require_sweep(session, sweep_id)
    statement = select(
        RunRow.id, RunRow.point, RunRow.name, RunRow.variant, RunRow.state, RunRow.set, RunRow.step, RunRow.metrics
    ).where(RunRow.sweep_id == sweep_id)
    if cursor is not None:
        statement = statement.where(RunRow.point > pages.decode(cursor, pages.BY_NUMBER)[0])
    rows = session.execute(statement.order_by(RunRow.point).limit(limit + 1)).all()
    biases = _last_biases(session, [row.id for row in rows])
    return pages.page(
        rows,
        limit,
        lambda row: ResultRow(
            run_id=row.id,
            point=row.point,
            name=row.name,
            variant=row.variant,
            state=row.state,
            set=row.set,
            step=row.step,
            metrics=row.metrics or {},
            bias=biases.get(row.id, {}),
        ),
        lambda row: (row.point,),
    )


def _last_biases(session: Session, run_ids: list[UUID]) -> dict[UUID, dict[str, float]]:
    last = (
        select(BiasSnapshotRow.run_id, func.max(BiasSnapshotRow.step))
        .where(BiasSnapshotRow.run_id.in_(run_ids))
        .group_by(BiasSnapshotRow.run_id)
    )
    rows = session.execute(
        select(BiasSnapshotRow.run_id, BiasSnapshotRow.summary).where(
            tuple_(BiasSnapshotRow.run_id, BiasSnapshotRow.step).in_(last)
        )
    )
    return {row.run_id: row.summary for row in rows}


def _attempt(row: AttemptRow) -> AttemptRead:
    return AttemptRead.model_validate(row, from_attributes=True)


def _event(row: EventRow) -> EventRead:
    return EventRead.model_validate(row, from_attributes=True)


def _metric(row: MetricPointRow) -> MetricRead:
    return MetricRead.model_validate(
        {"split": row.split, "step": row.step, "tokens": row.tokens, "values": row.metrics}
    )


def _snapshot(row: BiasSnapshotRow) -> BiasSnapshotRead:
    return BiasSnapshotRead.model_validate(row, from_attributes=True)


def _checkpoint(row: CheckpointRow) -> CheckpointRead:
    return CheckpointRead.model_validate(row, from_attributes=True)
