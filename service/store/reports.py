"""What attempts report becomes rows here, once each, however often it is delivered, and only while the attempt counts.

`apply_all` is fenced by `(run_id, epoch)` and a live state, skips what it has seen by the sequence number, and upserts
by step, since a resumed attempt repeats steps with equal values. It takes few statements, however many attempts have
reported: one locks all runs, one reads all attempts, and what is written goes out by table. A report that no database
can hold (a number that is not finite) is refused with an event: one bad value must not stop the dispatcher.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from prolu.client.wire import AttemptOutcome, DesiredState
from prolu.spec.report import (
    BiasSnapshot,
    CheckpointWritten,
    DiagnosticsMeasured,
    Failed,
    LogLines,
    MetricPoint,
    Progress,
    Report,
    Stopped,
    Succeeded,
)
from service.domain.bias_summary import summarise
from service.domain.lifecycle import Move
from service.store.attempts import End, charged_together, end, end_badly, held_all, move, record
from service.store.db import database_now, dialect_insert
from service.store.models import (
    AttemptRow,
    Base,
    BiasSnapshotRow,
    CheckpointRow,
    DiagnosticsRow,
    LogChunkRow,
    MetricPointRow,
    RunRow,
)

# A poll without news writes nothing while this share of the lease is left: polls come twice a second.
_RENEW_BELOW = 0.8


class Delivery(NamedTuple):
    """What one attempt said, as it was polled."""

    run_id: UUID
    epoch: int
    node: str | None
    """Where it runs; None where it has said nothing yet, and only its lease is renewed."""
    messages: Sequence[tuple[int, Report]]
    """Reports by sequence number."""
    nodes: Sequence[str] = ()
    """Of a gang, the node of each rank, as far as they are known."""
    devices: Sequence[Sequence[str]] = ()
    """The GPUs of each rank, as far as they are known; of a rank without, empty."""


class Applied(NamedTuple):
    """What became of an attempt by what it said."""

    last_seq: int
    """The last sequence number that is now stored."""
    renewed: bool
    """Whether its lease was moved."""
    ended: End | None
    """How it ended, which its owner's wish decides as well; None while it goes on."""


def apply_all(
    session: Session, deliveries: Sequence[Delivery], *, lease_seconds: float
) -> dict[tuple[UUID, int], Applied | None]:
    """Write what attempts said and renew their leases. Returns what became of each, by `(run_id, epoch)`.

    None means that the attempt is past (another epoch, or no longer live) and nothing of it was written. Raises what the
    database says of a report that it cannot store; the transaction is lost then, for all of them.
    """
    found = held_all(session, {(one.run_id, one.epoch) for one in deliveries})
    now, rows = database_now(session), _Rows()
    stored: dict[tuple[UUID, int], Applied | None] = {}
    with charged_together(session):
        for one in deliveries:
            key = one.run_id, one.epoch
            counts = key in found and found[key][1].finished_at is None
            stored[key] = (
                _apply(session, *found[key], one, timedelta(seconds=lease_seconds), now, rows) if counts else None
            )
        session.flush()
    rows.write(session)
    return stored


def apply(
    session: Session,
    run_id: UUID,
    epoch: int,
    messages: Sequence[tuple[int, Report]],
    *,
    lease_seconds: float,
    node: str | None,
) -> int | None:
    """The same for one attempt. Returns the last sequence number that is now stored; None where it is past."""
    one = Delivery(run_id, epoch, node, messages)
    applied = apply_all(session, [one], lease_seconds=lease_seconds)[run_id, epoch]
    return applied and applied.last_seq


class _Rows:
    """Rows for tables of their own, kept until all are known."""

    def __init__(self) -> None:
        self._by_table: dict[type[Base], list[dict[str, Any]]] = defaultdict(list)

    def add(self, table: type[Base], run: RunRow, attempt: AttemptRow, step: int, **columns: Any) -> None:
        self._by_table[table].append({"run_id": run.id, "epoch": attempt.epoch, "step": step, **columns})

    def write(self, session: Session) -> None:
        """Write them, a statement for each table; of those with equal keys the last one counts, of checkpoints the first."""
        for table, rows in self._by_table.items():
            statement = dialect_insert(session, table)
            if table is CheckpointRow:
                session.execute(statement.on_conflict_do_nothing(index_elements=["run_id", "step", "epoch"]), rows)
                continue
            key = [column.name for column in table.__table__.primary_key]
            newer = {name: statement.excluded[name] for name in rows[0] if name not in key}
            session.execute(statement.on_conflict_do_update(index_elements=key, set_=newer), rows)


def _apply(
    session: Session,
    run: RunRow,
    attempt: AttemptRow,
    said: Delivery,
    lease: timedelta,
    now: datetime,
    rows: _Rows,
) -> Applied:
    renewed = bool(said.messages) or attempt.lease_until - now < _RENEW_BELOW * lease
    if renewed:
        attempt.lease_until = now + lease
    _note_nodes(run, attempt, said)
    for seq, report in sorted(said.messages, key=lambda message: message[0]):
        if seq <= attempt.last_seq:
            continue
        attempt.last_seq = seq
        if not isinstance(report, LogLines):  # who only talks makes no progress
            attempt.news_at = now
        if run.state == "starting":
            move(session, run, "begin", now=now, node=attempt.node)
        _write(session, run, attempt, report, now, rows)
        if attempt.finished_at is not None:
            break
    return Applied(attempt.last_seq, renewed, End.of(attempt))


def _note_nodes(run: RunRow, attempt: AttemptRow, said: Delivery) -> None:
    """Where it runs, and on which devices, replaces where the plan had put it, once all ranks are known."""
    if said.node is None:
        return
    nodes = list(said.nodes or [said.node])
    attempt.node = said.node
    if len(nodes) == run.ranks and attempt.nodes != nodes:
        attempt.nodes = nodes
    devices = [list(names) for names in said.devices]
    if len(devices) == run.ranks and any(devices) and attempt.devices != devices:
        attempt.devices = devices


def _write(session: Session, run: RunRow, attempt: AttemptRow, report: Report, now: datetime, rows: _Rows) -> None:
    match report:
        case Progress():
            run.phase, run.done, run.total, run.progress_at = report.phase, report.done, report.total, now
            if report.phase == "training":
                _stepped(run, attempt, report.done)
        case MetricPoint():
            _stepped(run, attempt, report.step)
            values = {"tokens": report.tokens, "split": report.split, "metrics": _finite(report.values)}
            rows.add(MetricPointRow, run, attempt, report.step, **values)
        case BiasSnapshot():
            _snapshot(session, run, attempt, report, now, rows)
        case DiagnosticsMeasured():
            _diagnostics(session, run, attempt, report, now, rows)
        case CheckpointWritten():
            _stepped(run, attempt, report.step)
            _checkpoint(run, attempt, report, now, rows)
        case LogLines():
            session.add(LogChunkRow(run_id=run.id, epoch=attempt.epoch, seq=attempt.last_seq, at=now, text=report.text))
        case Succeeded():
            _stepped(run, attempt, report.step)
            run.metrics = _finite(report.metrics)
            run.message = run.stopped_early = None  # it was faster than who wished its end
            end(session, run, attempt, "succeeded", now=now)
            move(session, run, "succeed", now=now)
        case Failed():
            _stepped(run, attempt, report.step)
            if report.lost is not None:  # where it was lost is what retries judge, not where that was noticed
                attempt.node = report.lost.node or attempt.node
            end_badly(
                session,
                run,
                attempt,
                now=now,
                outcome="failed" if report.lost is None else "lost",
                failure_class=report.failure_class,
                message=report.message,
                exit_cause=None if report.lost is None else report.lost.exit_cause,
                traceback_tail=report.traceback_tail,
            )
        case Stopped(reason="timeout") if run.desired_state == "running":
            _stepped(run, attempt, report.step)
            told = attempt.message or "It took longer than it may."
            end_badly(session, run, attempt, now=now, outcome="failed", failure_class="timeout", message=told)
        case Stopped():
            _stepped(run, attempt, report.step)
            outcome, chosen = _after_stopping(report, run.desired_state)
            end(session, run, attempt, outcome, now=now)
            run.message = None
            move(session, run, chosen, now=now, reason=report.reason)


def _after_stopping(report: Stopped, desired: DesiredState) -> tuple[AttemptOutcome, Move]:
    """The wish at the end counts, not the one at the beginning: a pause that was taken back goes to the queue."""
    if desired == "cancelled" or report.reason == "cancel":
        return "cancelled", "cancel"
    if desired == "paused":
        return "paused", "pause"
    return "preempted", "requeue"


def _stepped(run: RunRow, attempt: AttemptRow, step: int) -> None:
    # An attempt begins at the step of its checkpoint, and a report that names an earlier step takes back nothing.
    run.step = attempt.last_step = max(step, attempt.last_step)


def _snapshot(
    session: Session, run: RunRow, attempt: AttemptRow, report: BiasSnapshot, now: datetime, rows: _Rows
) -> None:
    statistics = report.statistics.model_dump()
    if _refused(session, run, report, statistics, now):
        return
    values = {"tokens": report.tokens, "statistics": statistics, "summary": summarise(report.statistics)}
    rows.add(BiasSnapshotRow, run, attempt, report.step, **values)


def _diagnostics(
    session: Session, run: RunRow, attempt: AttemptRow, report: DiagnosticsMeasured, now: datetime, rows: _Rows
) -> None:
    measured = report.model_dump(exclude={"kind", "step"})
    if not _refused(session, run, report, measured, now):
        rows.add(DiagnosticsRow, run, attempt, report.step, measured=measured)


def _refused(
    session: Session, run: RunRow, report: BiasSnapshot | DiagnosticsMeasured, numbers: dict[str, Any], now: datetime
) -> bool:
    """Whether the report has a number that is not finite, which an event then tells."""
    finite = _all_finite(numbers)
    if not finite:
        record(session, run, "report_refused", now=now, report=report.kind, step=report.step, why="not finite")
    return not finite


def _checkpoint(run: RunRow, attempt: AttemptRow, report: CheckpointWritten, now: datetime, rows: _Rows) -> None:
    rows.add(
        CheckpointRow,
        run,
        attempt,
        report.step,
        id=uuid7(),
        tokens=report.tokens,
        path=report.path,
        files=[file.model_dump() for file in report.files],
        bytes=sum(file.bytes for file in report.files),
        final=report.final,
        created_at=now,
    )


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    """Leave out what JSON cannot say; a metric that is NaN is a metric that is not there."""
    return {name: value for name, value in values.items() if math.isfinite(value)}


def _all_finite(value: Any) -> bool:
    match value:
        case float():
            return math.isfinite(value)
        case dict():
            return all(_all_finite(inner) for inner in value.values())
        case list():
            return all(_all_finite(inner) for inner in value)
    return True
