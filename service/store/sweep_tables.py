"""What the runs of a sweep found, as tables: one row per run, per group of seeds, per last look at the biases.

Of a point that was tried again, the latest run counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, func, select, tuple_
from sqlalchemy.orm import Session

from prolu.client.wire import Page, ResultRow, RunState, SeedGroupRead, SweepBiasRead
from prolu.spec.report import BiasPopulation, BiasStatistics, Histogram
from service.domain.counterparts import counterparts, paired_differences
from service.domain.errors import Invalid, WrongParameter
from service.domain.repeats import Group, by_seed, estimates
from service.store import pages
from service.store.lists import require_sweep
from service.store.models import BiasSnapshotRow, RunRow
from service.store.succeeded import level_of

# Of the spec, which may be long, only what orders the runs of a variant.
_LEVEL = (
    RunRow.spec["sparsity"]["coefficient"].as_float().label("coefficient"),
    RunRow.spec["sparsity"]["controller"]["target_l0"].as_float().label("target_l0"),
    RunRow.spec["sae"]["k"].as_float().label("k"),
)
# A run that refers to a finished one has that one's measurements.
_MEASURED = func.coalesce(RunRow.reused_from, RunRow.id)
_RUN = (
    RunRow.id,
    RunRow.point,
    RunRow.name,
    RunRow.variant,
    RunRow.state,
    RunRow.set,
    RunRow.step,
    RunRow.reused_from,
    RunRow.stopped_early,
    *_LEVEL,
)


def results(session: Session, sweep_id: UUID, *, limit: int, cursor: str | None) -> Page[ResultRow]:
    """One row per run of a sweep, by point: settings, final metrics, last bias statistics in brief. Raises NotFound."""
    require_sweep(session, sweep_id)
    statement = _after(cursor, select(*_RUN, RunRow.metrics).where(RunRow.sweep_id == sweep_id, ~RunRow.superseded))
    rows = session.execute(statement.order_by(RunRow.point).limit(limit + 1)).all()
    biases = _last_biases(session, rows)
    return pages.page(rows, limit, lambda row: _result(row, biases), lambda row: (row.point,))


def results_of(session: Session, run_ids: Sequence[UUID]) -> list[ResultRow]:
    """The same rows of these runs of sweeps, in any order."""
    rows = session.execute(select(*_RUN, RunRow.metrics).where(RunRow.id.in_(run_ids))).all()
    biases = _last_biases(session, rows)
    return [_result(row, biases) for row in rows]


def results_over_seeds(
    session: Session, sweep_id: UUID, *, against: str | None = None, limit: int, cursor: str | None
) -> Page[SeedGroupRead]:
    """One row per group of runs that differ in their seed alone, by first point. Raises NotFound, Invalid.

    With `against`, a variant of the sweep, also the differences from its points at equal levels and settings. The members of a
    group may stand anywhere in the sweep, so its points are read whole, and metrics of this page (and of its counterparts) only.
    """
    require_sweep(session, sweep_id)
    statement = select(*_RUN).where(RunRow.sweep_id == sweep_id, ~RunRow.superseded)
    runs = session.execute(statement.order_by(RunRow.point)).all()
    groups = by_seed(runs)
    others = (
        {}
        if against is None
        else counterparts(groups, _known(against, runs), level_of=lambda group: level_of(group.runs[0]))
    )
    if cursor is not None:
        (last,) = pages.decode(cursor, pages.BY_COUNT)
        groups = [group for group in groups if group.point > last]
    shown = groups[: limit + 1]
    needed = [*shown, *(others[group.point] for group in shown if group.point in others)]
    succeeded = {run.id for group in needed for run in group.runs if run.state == "succeeded"}
    metrics = {
        row.id: row.metrics or {}
        for row in session.execute(select(RunRow.id, RunRow.metrics).where(RunRow.id.in_(succeeded)))
    }
    biases = _last_biases(session, [run for group in shown for run in group.runs if run.id in succeeded])
    return pages.page(
        shown,
        limit,
        lambda group: _group(group, metrics, biases, others.get(group.point)),
        lambda group: (group.point,),
    )


def bias_statistics(
    session: Session, sweep_id: UUID, *, histograms: bool = True, limit: int, cursor: str | None
) -> Page[SweepBiasRead]:
    """The last snapshot of every run of a sweep that has one, by point. Raises NotFound."""
    require_sweep(session, sweep_id)
    last = (
        select(func.max(BiasSnapshotRow.step))
        .where(BiasSnapshotRow.run_id == _MEASURED)
        .correlate(RunRow)
        .scalar_subquery()
    )
    seen = (BiasSnapshotRow.step.label("at_step"), BiasSnapshotRow.tokens, BiasSnapshotRow.statistics)
    statement = (
        select(*_RUN, *seen)
        .join(BiasSnapshotRow, (BiasSnapshotRow.run_id == _MEASURED) & (BiasSnapshotRow.step == last))
        .where(RunRow.sweep_id == sweep_id, ~RunRow.superseded)
    )
    rows = session.execute(_after(cursor, statement).order_by(RunRow.point).limit(limit + 1)).all()
    return pages.page(rows, limit, lambda row: _last_look(row, histograms=histograms), lambda row: (row.point,))


def _result(row: Row[Any], biases: dict[UUID, dict[str, float]]) -> ResultRow:
    return ResultRow(
        run_id=row.id,
        point=row.point,
        name=row.name,
        variant=row.variant,
        state=row.state,
        set=row.set,
        step=row.step,
        metrics=row.metrics or {},
        bias=biases.get(row.id, {}),
        level=level_of(row),
        reused_from=row.reused_from,
        stopped_early=row.stopped_early,
    )


def _after(cursor: str | None, statement: Select[Any]) -> Select[Any]:
    if cursor is None:
        return statement
    return statement.where(RunRow.point > pages.decode(cursor, pages.BY_COUNT)[0])


def _known(variant: str, runs: Sequence[Row[Any]]) -> str:
    names = list(dict.fromkeys(run.variant for run in runs if run.variant is not None))
    if variant not in names:
        listed = f"its variants are {', '.join(names)}" if names else "it has none; leave against out"
        sentence = f"The query parameter 'against' is {variant[:80]!r}, which is no variant of this sweep; {listed}."
        raise Invalid(sentence, [WrongParameter(("query", "against"), sentence)])
    return variant


def _group(
    group: Group[Any],
    metrics: dict[UUID, Any],
    biases: dict[UUID, dict[str, float]],
    other: Group[Any] | None,
) -> SeedGroupRead:
    states: Counter[RunState] = Counter(run.state for run in group.runs)
    done = [run.id for run in group.runs if run.state == "succeeded"]
    return SeedGroupRead(
        point=group.point,
        variant=group.variant,
        set=group.set,
        level=level_of(group.runs[0]),
        seeds=group.seeds,
        run_ids=[run.id for run in group.runs],
        states=dict(states),
        metrics=estimates([metrics[run_id] for run_id in done]),
        bias=estimates([biases.get(run_id, {}) for run_id in done]),
        differences={} if other is None else paired_differences(group, other, metrics),
    )


def _last_look(row: Row[Any], *, histograms: bool) -> SweepBiasRead:
    statistics = BiasStatistics.model_validate(row.statistics)
    return SweepBiasRead(
        run_id=row.id,
        point=row.point,
        name=row.name,
        variant=row.variant,
        state=row.state,
        set=row.set,
        level=level_of(row),
        step=row.at_step,
        tokens=row.tokens,
        statistics=statistics if histograms else _in_brief(statistics),
    )


def _in_brief(statistics: BiasStatistics) -> BiasStatistics:
    """The statistics without histograms, which are most of their length."""
    populations = {name: _without_bins(getattr(statistics, name)) for name in ("all", "alive", "dead")}
    joint = dict.fromkeys(("density", "bias_by_frequency", "bias_by_decoder_norm"))
    return statistics.model_copy(update=populations | joint)


def _without_bins(population: BiasPopulation) -> BiasPopulation:
    empty = {"histogram": Histogram(edges=[], counts=[])}
    return population.model_copy(
        update={
            "bias": population.bias.model_copy(update=empty),
            "threshold": population.threshold.model_copy(update=empty),
        }
    )


def _last_biases(session: Session, runs: Sequence[Row[Any]]) -> dict[UUID, dict[str, float]]:
    measured = {run.id: run.reused_from or run.id for run in runs}
    # What a run looked like before its first step is no result.
    last = (
        select(BiasSnapshotRow.run_id, func.max(BiasSnapshotRow.step))
        .where(BiasSnapshotRow.run_id.in_(set(measured.values())), BiasSnapshotRow.step > 0)
        .group_by(BiasSnapshotRow.run_id)
    )
    rows = session.execute(
        select(BiasSnapshotRow.run_id, BiasSnapshotRow.summary).where(
            tuple_(BiasSnapshotRow.run_id, BiasSnapshotRow.step).in_(last)
        )
    )
    found = {row.run_id: row.summary for row in rows}
    return {run_id: found[source] for run_id, source in measured.items() if source in found}
