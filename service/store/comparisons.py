"""A few runs side by side: specs, final metrics, and the last look at their biases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session

from prolu.client.wire import ComparedBiases, ComparedRun, ComparisonRead
from prolu.spec.binning import common_edges
from prolu.spec.report import BiasStatistics
from service.domain.bias_curves import shares
from service.domain.bias_summary import summarise
from service.domain.comparison import compared, spec_differences
from service.domain.errors import NotFound
from service.store.models import BiasSnapshotRow, RunRow, UserRow

_Look = tuple[int, BiasStatistics]


def compare(session: Session, run_ids: Sequence[UUID], *, bins: int) -> ComparisonRead:
    """Compare all with the first. Raises NotFound."""
    rows = [_run(session, run_id) for run_id in run_ids]
    looks = [_last_look(session, row.reused_from or row.id) for row in rows]
    numbers = [
        {f"metrics.{name}": value for name, value in (row.metrics or {}).items()}
        | {f"bias.{name}": value for name, value in (summarise(look[1]) if look else {}).items()}
        for row, look in zip(rows, looks, strict=True)
    ]
    edges = common_edges((look[1].all.bias for look in looks if look), bins) if bins and any(looks) else []
    return ComparisonRead(
        runs=[ComparedRun(id=row.id, name=row.name, owner=row.owner, state=row.state) for row in rows],
        spec=spec_differences([row.spec for row in rows]),
        numbers=sorted(compared(numbers), key=lambda one: one.path.partition(".")[0] == "bias"),
        edges=edges,
        biases=[_shown(look, edges) for look in looks],
    )


def _run(session: Session, run_id: UUID) -> Row[Any]:
    columns = (RunRow.id, RunRow.name, RunRow.state, RunRow.spec, RunRow.metrics, RunRow.reused_from)
    statement = select(*columns, UserRow.name.label("owner")).join(UserRow, UserRow.id == RunRow.owner_id)
    found = session.execute(statement.where(RunRow.id == run_id)).one_or_none()
    if found is None:
        raise NotFound(f"There is no run {run_id}; GET /v1/runs lists those that there are.")
    return found


def _last_look(session: Session, run_id: UUID) -> _Look | None:
    """What a run looked like before its first step is no result."""
    last = select(func.max(BiasSnapshotRow.step)).where(BiasSnapshotRow.run_id == run_id, BiasSnapshotRow.step > 0)
    row = session.scalar(
        select(BiasSnapshotRow).where(BiasSnapshotRow.run_id == run_id, BiasSnapshotRow.step == last.scalar_subquery())
    )
    return None if row is None else (row.step, BiasStatistics.model_validate(row.statistics))


def _shown(look: _Look | None, edges: Sequence[float]) -> ComparedBiases | None:
    if look is None:
        return None
    step, statistics = look
    return ComparedBiases(step=step, shares=shares([statistics.all.bias], edges) if edges else [])
