"""What attempts report becomes rows here, once each, however often it is delivered, and only while the attempt counts.

`apply` is fenced by `(run_id, epoch)` and a live state, skips what it has seen by the sequence number, and upserts
by step, since a resumed attempt repeats steps with equal values. A report that no database can hold (a number that is
not finite) is refused with an event: one bad value must not stop the dispatcher.
"""

from __future__ import annotations

import math
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
from service.store.attempts import end, end_badly, held, move, record
from service.store.db import database_now, dialect_insert, insert_new
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


def apply_all(
    session: Session, deliveries: Sequence[Delivery], *, lease_seconds: float
) -> dict[tuple[UUID, int], int | None]:
    """Write what many attempts said; see `apply`. Returns what it returns, by `(run_id, epoch)`."""
    return {
        (one.run_id, one.epoch): apply(
            session, one.run_id, one.epoch, one.messages, lease_seconds=lease_seconds, node=one.node
        )
        for one in sorted(deliveries, key=lambda one: one.run_id)
    }


def apply(
    session: Session,
    run_id: UUID,
    epoch: int,
    messages: Sequence[tuple[int, Report]],
    *,
    lease_seconds: float,
    node: str | None,
) -> int | None:
    """Write what an attempt said and renew its lease. Returns the last sequence number that is now stored.

    None means that the attempt is past (another epoch, or no longer live) and nothing was written.
    """
    found = held(session, run_id, epoch)
    if found is None:
        return None
    run, attempt = found
    now = database_now(session)
    lease = timedelta(seconds=lease_seconds)
    if messages or attempt.lease_until - now < _RENEW_BELOW * lease:
        attempt.lease_until = now + lease
    attempt.node = node or attempt.node
    for seq, report in sorted(messages, key=lambda message: message[0]):
        if seq <= attempt.last_seq:
            continue
        attempt.last_seq = seq
        attempt.news_at = now
        if run.state == "starting":
            move(session, run, "begin", now=now, node=attempt.node)
        _write(session, run, attempt, report, now)
        if attempt.finished_at is not None:
            break
    session.flush()
    return attempt.last_seq


def _write(session: Session, run: RunRow, attempt: AttemptRow, report: Report, now: datetime) -> None:
    match report:
        case Progress():
            run.phase, run.done, run.total, run.progress_at = report.phase, report.done, report.total, now
            if report.phase == "training":
                _stepped(run, attempt, report.done)
        case MetricPoint():
            _stepped(run, attempt, report.step)
            values = {"tokens": report.tokens, "split": report.split, "metrics": _finite(report.values)}
            _upsert(session, MetricPointRow, run, attempt, report.step, **values)
        case BiasSnapshot():
            _snapshot(session, run, attempt, report, now)
        case DiagnosticsMeasured():
            _diagnostics(session, run, attempt, report, now)
        case CheckpointWritten():
            _stepped(run, attempt, report.step)
            _checkpoint(session, run, attempt, report, now)
        case LogLines():
            text = _storable(report.text)
            session.add(LogChunkRow(run_id=run.id, epoch=attempt.epoch, seq=attempt.last_seq, at=now, text=text))
        case Succeeded():
            _stepped(run, attempt, report.step)
            run.metrics = _finite(report.metrics)
            run.message = None
            end(session, run, attempt, "succeeded", now=now)
            move(session, run, "succeed", now=now)
        case Failed():
            _stepped(run, attempt, report.step)
            end_badly(
                session,
                run,
                attempt,
                now=now,
                outcome="failed",
                failure_class=report.failure_class,
                message=_storable(report.message),
                traceback_tail=_storable(report.traceback_tail),
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


def _snapshot(session: Session, run: RunRow, attempt: AttemptRow, report: BiasSnapshot, now: datetime) -> None:
    statistics = report.statistics.model_dump()
    if _refused(session, run, report, statistics, now):
        return
    values = {"tokens": report.tokens, "statistics": statistics, "summary": summarise(report.statistics)}
    _upsert(session, BiasSnapshotRow, run, attempt, report.step, **values)


def _diagnostics(
    session: Session, run: RunRow, attempt: AttemptRow, report: DiagnosticsMeasured, now: datetime
) -> None:
    measured = report.model_dump(exclude={"kind", "step"})
    if not _refused(session, run, report, measured, now):
        _upsert(session, DiagnosticsRow, run, attempt, report.step, measured=measured)


def _refused(
    session: Session, run: RunRow, report: BiasSnapshot | DiagnosticsMeasured, numbers: dict[str, Any], now: datetime
) -> bool:
    """Whether the report has a number that is not finite, which an event then tells."""
    finite = _all_finite(numbers)
    if not finite:
        record(session, run, "report_refused", now=now, report=report.kind, step=report.step, why="not finite")
    return not finite


def _checkpoint(session: Session, run: RunRow, attempt: AttemptRow, report: CheckpointWritten, now: datetime) -> None:
    row = {
        "id": uuid7(),
        "run_id": run.id,
        "epoch": attempt.epoch,
        "step": report.step,
        "tokens": report.tokens,
        "path": report.path,
        "files": [file.model_dump() for file in report.files],
        "bytes": sum(file.bytes for file in report.files),
        "final": report.final,
        "created_at": now,
    }
    insert_new(session, CheckpointRow, row, key=["run_id", "step", "epoch"])


def _upsert(session: Session, table: type[Base], run: RunRow, attempt: AttemptRow, step: int, **columns: Any) -> None:
    statement = dialect_insert(session, table).values(run_id=run.id, epoch=attempt.epoch, step=step, **columns)
    key = [column.name for column in table.__table__.primary_key]
    newer = {column.name: column for column in statement.excluded if column.name not in key}
    session.execute(statement.on_conflict_do_update(index_elements=key, set_=newer))


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


def _storable(text: str) -> str:
    """Replace what PostgreSQL's text cannot hold: NUL, and halves of surrogate pairs."""
    return text.replace("\x00", "�").encode(errors="replace").decode()
