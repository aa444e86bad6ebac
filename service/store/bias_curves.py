"""Bias statistics against a field, of runs that a filter or a sweep chose.

Numbers of all latents are in `findings`, so 50,000 runs are read as frontiers are. Histograms, and the numbers of the alive or
the dead alone, are in the documents of the last snapshots, some 20 kB each: of these at most 2,000 are opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session

from prolu.client.wire import BiasCurvesRead
from prolu.spec.report import BiasPopulation
from service.domain.asking import BiasesQuestion
from service.domain.bias_curves import Seen, curves
from service.domain.bias_summary import numbers_of
from service.domain.filters.columns import BIASES
from service.store.filtering import RUNS
from service.store.lists import require_sweep
from service.store.models import FINDINGS, BiasSnapshotRow
from service.store.succeeded import DESCRIBED, identity, succeeded

MOST_RUNS = 50_000
MOST_DOCUMENTS = 2_000

_IDS_AT_ONCE = 200
_NUMBERS = [FINDINGS.c[f"bias_{name}"] for name in BIASES]


def biases(session: Session, asked: BiasesQuestion, *, sweep_id: UUID | None = None) -> BiasCurvesRead:
    """A curve for each family. Raises NotFound for a sweep that is not there, Invalid for more runs than are read."""
    if sweep_id is not None:
        require_sweep(session, sweep_id)
    request = asked.request
    opened = request.bins > 0 or request.latents != "all"
    columns = [asked.x, *asked.division.columns]
    most = MOST_DOCUMENTS if opened else MOST_RUNS
    rows = succeeded(
        session,
        columns,
        condition=asked.condition,
        sweep_id=sweep_id,
        most=most,
        more=[FINDINGS.c.bias_step, *_NUMBERS],
    )
    ids = [identity(row[0]) for row in rows]
    looks = _documents(session, ids, request.latents) if opened else _numbers(ids, rows)
    first = len(DESCRIBED)
    family_of = cache(asked.division.name_of)
    seen = [
        Seen(run_id, family_of(row[first + 1 : first + len(columns)]), row[first], *looks[run_id])
        for run_id, row in zip(ids, rows, strict=True)
        if run_id in looks
    ]
    edges, found = curves(seen, bins=request.bins)
    return BiasCurvesRead(
        x=asked.x.name,
        by=request.by,
        latents=request.latents,
        edges=edges,
        curves=found,
        left_out=len(rows) - len(seen),
    )


def _numbers(ids: Sequence[UUID], rows: Sequence[Row[Any]]) -> dict[UUID, tuple[Any, ...]]:
    """What `findings` has of each run that was looked at after its first step."""
    return {
        run_id: ({name: value for name, value in zip(BIASES, row[-len(BIASES) :], strict=True) if value is not None},)
        for run_id, row in zip(ids, rows, strict=True)
        if row.bias_step is not None
    }


def _documents(session: Session, ids: Sequence[UUID], latents: str) -> dict[UUID, tuple[Any, ...]]:
    """Numbers and distribution of one set of latents in the last snapshot of each run, or of the one that it refers to."""
    measured_by = func.coalesce(RUNS.c.reused_from, RUNS.c.id)
    last = (BiasSnapshotRow.run_id == measured_by) & (BiasSnapshotRow.step == FINDINGS.c.bias_step)
    found: dict[UUID, tuple[Any, ...]] = {}
    for first in range(0, len(ids), _IDS_AT_ONCE):
        statement = (
            select(RUNS.c.id, BiasSnapshotRow.statistics[latents])
            .select_from(RUNS.join(FINDINGS, FINDINGS.c.run_id == RUNS.c.id).join(BiasSnapshotRow, last))
            .where(RUNS.c.id.in_(ids[first : first + _IDS_AT_ONCE]))
        )
        for run_id, document in session.execute(statement):
            population = BiasPopulation.model_validate(document)
            found[run_id] = (numbers_of(population), population.bias)
    return found
