"""Early stopping in the queue: what live runs report is judged in the transaction that stores it, once for each step.

So a point is stored and judged, or neither: whoever restarts in between changes no decision. Of runs that report together the
one at the lower step is judged first, then the one with the lower id.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from pydantic import TypeAdapter
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from prolu.spec import Asha, EarlyStopping
from prolu.spec.report import MetricPoint
from service.domain import lifecycle
from service.domain.early_stopping import Verdict, compare, halve, rung_of
from service.store.attempts import record
from service.store.db import database_now
from service.store.models import JudgementRow, MetricPointRow, RunRow, SweepRow
from service.store.reports import Delivery

_RULE: TypeAdapter[EarlyStopping] = TypeAdapter(EarlyStopping)


class _Said(NamedTuple):
    """A point of the series that a rule judges."""

    step: int
    run_id: UUID
    value: float


def judge(session: Session, deliveries: Sequence[Delivery]) -> list[UUID]:
    """Judge what was just stored, and wish the end of runs that are worse than others. Returns those."""
    points = {
        one.run_id: [report for _, report in one.messages if isinstance(report, MetricPoint)] for one in deliveries
    }
    judged = {run_id for run_id, said in points.items() if said}
    if not judged:
        return []
    rows = session.execute(
        select(RunRow.id, RunRow.sweep_id, SweepRow.early_stopping)
        .join(SweepRow, SweepRow.id == RunRow.sweep_id)
        .where(
            RunRow.id.in_(judged),
            SweepRow.early_stopping.is_not(None),
            RunRow.desired_state == "running",
            RunRow.state.in_(sorted(lifecycle.LIVE)),
        )
    ).all()
    if not rows:
        return []
    now = database_now(session)
    rules = {row.id: (row.sweep_id, _RULE.validate_python(row.early_stopping)) for row in rows}
    said = [
        _Said(point.step, run_id, value)
        for run_id, (_, rule) in rules.items()
        for point in points[run_id]
        if point.split == rule.split and math.isfinite(value := point.values.get(rule.metric, math.nan))
    ]
    stopped: list[UUID] = []
    for one in sorted(set(said)):
        if one.run_id not in stopped and _is_new(session, one):
            sweep_id, rule = rules[one.run_id]
            if _judge_one(session, sweep_id, rule, one, now=now):
                stopped.append(one.run_id)
    return stopped


def _is_new(session: Session, said: _Said) -> bool:
    """A resumed attempt repeats steps; what was decided there stays."""
    return session.get(JudgementRow, (said.run_id, said.step)) is None


def _judge_one(session: Session, sweep_id: UUID, rule: EarlyStopping, said: _Said, *, now: datetime) -> bool:
    rung: int | None = None
    if isinstance(rule, Asha):
        last = session.scalar(select(func.max(JudgementRow.rung)).where(JudgementRow.run_id == said.run_id))
        rung = rung_of(rule, said.step, last)
        if rung is None:
            return False
        verdict = halve(rule, rung=rung, step=said.step, value=said.value, others=_there(session, sweep_id, rung, said))
    else:
        if said.step < rule.min_steps:
            return False
        own, others = _values(session, rule, said), _means(session, sweep_id, rule, said)
        verdict = compare(rule, step=said.step, values=own, others=others)
    session.add(
        JudgementRow(
            run_id=said.run_id,
            step=said.step,
            sweep_id=sweep_id,
            rung=rung,
            value=said.value,
            verdict="stop" if verdict.stop else "go_on",
            at=now,
        )
    )
    run = session.get_one(RunRow, said.run_id)
    if verdict.stop:
        run.desired_state, run.stopped_early = "cancelled", verdict.reason
    if verdict.stop or rung is not None:
        record(
            session, run, "stopped_early" if verdict.stop else "goes_on", now=now, **_told(rule, said, rung, verdict)
        )
    session.flush()
    return verdict.stop


def _told(rule: EarlyStopping, said: _Said, rung: int | None, verdict: Verdict) -> dict[str, Any]:
    return {
        "rule": rule.kind,
        "metric": rule.metric,
        "step": said.step,
        "rung": rung,
        "value": said.value,
        "bound": verdict.bound,
        "others": verdict.others,
        "reason": verdict.reason,
    }


def _there(session: Session, sweep_id: UUID, rung: int, said: _Said) -> Sequence[float]:
    """The values of the other runs that came to the rung before, at the same step."""
    return session.scalars(
        select(JudgementRow.value)
        .join(RunRow, RunRow.id == JudgementRow.run_id)
        .where(
            JudgementRow.sweep_id == sweep_id,
            JudgementRow.step == said.step,
            JudgementRow.rung == rung,
            JudgementRow.run_id != said.run_id,
            ~RunRow.superseded,
        )
    ).all()


def _values(session: Session, rule: EarlyStopping, said: _Said) -> Sequence[float]:
    value = MetricPointRow.metrics[rule.metric].as_float()
    return session.scalars(
        select(value).where(
            MetricPointRow.run_id == said.run_id,
            MetricPointRow.split == rule.split,
            MetricPointRow.step <= said.step,
            value.is_not(None),
        )
    ).all()


def _means(session: Session, sweep_id: UUID, rule: EarlyStopping, said: _Said) -> list[float]:
    """The mean up to the step of each run that has succeeded and has a point at it."""
    value = MetricPointRow.metrics[rule.metric].as_float()
    rows = session.execute(
        select(func.avg(value))
        .join(RunRow, RunRow.id == MetricPointRow.run_id)
        .where(
            RunRow.sweep_id == sweep_id,
            ~RunRow.superseded,
            RunRow.state == "succeeded",
            RunRow.id != said.run_id,
            MetricPointRow.split == rule.split,
            MetricPointRow.step <= said.step,
            value.is_not(None),
        )
        .group_by(MetricPointRow.run_id)
        .having(func.max(MetricPointRow.step) == said.step)
    )
    return [float(mean) for (mean,) in rows]
