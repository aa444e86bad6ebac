"""The trials of a sweep that searches, as the API shows them. Reads only."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from prolu.client.wire import Page, TrialRead
from prolu.spec import SweepSpec
from service.domain.errors import Conflict, NotFound
from service.domain.search import front
from service.store import pages
from service.store.models import SweepRow, TrialRow


def trials(session: Session, sweep_id: UUID, *, limit: int, cursor: str | None) -> Page[TrialRead]:
    """The trials of a search by number, and which of them no other one beats. Raises NotFound, Conflict without a search."""
    sweep = session.get(SweepRow, sweep_id)
    if sweep is None:
        raise NotFound(f"There is no sweep {sweep_id}; GET /v1/sweeps lists those that there are.")
    search = SweepSpec.model_validate(sweep.spec).search
    if search is None:
        raise Conflict(
            f"Sweep {sweep_id} has no search, and so no trials; GET /v1/sweeps/{{id}}/results has its points."
        )
    of_it = TrialRow.sweep_id == sweep_id
    values = session.execute(select(TrialRow.number, TrialRow.values).where(of_it, TrialRow.state == "complete")).all()
    on_it = front([row[1] for row in values], [objective.goal for objective in search.objectives])
    best = {row.number for row, is_on_it in zip(values, on_it, strict=True) if is_on_it}
    statement = select(TrialRow).where(of_it)
    if cursor is not None:
        statement = statement.where(TrialRow.number > pages.decode(cursor, pages.BY_COUNT)[0])
    rows = session.scalars(statement.order_by(TrialRow.number).limit(limit + 1)).all()
    return pages.page(rows, limit, lambda row: _trial(row, on_front=row.number in best), lambda row: (row.number,))


def _trial(row: TrialRow, *, on_front: bool) -> TrialRead:
    return TrialRead(
        number=row.number,
        state=row.state,
        set=row.set,
        values=row.values,
        on_front=on_front,
        message=row.message,
        run_id=row.run_id,
        same_as=row.same_as,
        told=row.told,
        asked_at=row.asked_at,
        told_at=row.told_at,
    )
