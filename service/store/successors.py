"""Runs that come from other runs: a retry takes the place of one that ended badly, a clone stands beside one.

A finished run never changes, so that to try it again is to submit a new run with its spec, its place in the queue and
in its sweep; the old one is `superseded` from then on, which is no state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

from sqlalchemy import BigInteger, Table, Text, Uuid, bindparam, insert, literal, select, update
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from prolu.client.wire import RunState
from prolu.spec.report import FailureClass
from service.domain.errors import IllegalTransition
from service.store.attempts import record
from service.store.db import database_now
from service.store.models import EventRow, RunRow
from service.store.resumption import beginnings
from service.store.wishes import locked, locked_sweep, states_of

# A checkpoint would only bring back what ended the run.
_FROM_SCRATCH: frozenset[FailureClass | None] = frozenset({"nan_loss", "bad_checkpoint"})
_COPIED = [
    "owner_id",
    "sweep_id",
    "point",
    "variant",
    "set",
    "name",
    "digest",
    "data_digest",
    "spec",
    "ranks",
    "cpus",
    "gpus",
    "gpu_type",
    "memory_gb",
    "run_limit_seconds",
    "start_limit_seconds",
    "no_progress_limit_seconds",
    "total_steps",
    "tier",
    "priority",
    "preemptible",
]


def retry(session: Session, run_id: UUID, *, from_scratch: bool) -> UUID:
    """Try a run again that failed or was cancelled, or end the wait of one before its next attempt.

    Returns the run that takes its place, or the run itself where it waited. Raises NotFound, IllegalTransition.
    """
    run = locked(session, run_id)
    if run.state == "retry_wait":
        _end_wait(session, run, from_scratch=from_scratch)
        return run_id
    if run.state == "succeeded":
        raise IllegalTransition(f"Run {run_id} is already finished (succeeded); clone it to train again.")
    if run.state not in ("failed", "cancelled"):
        raise IllegalTransition(
            f"Run {run_id} is {run.state}; only one that failed or was cancelled can be tried again, or one that waits for that."
        )
    if run.superseded:
        raise IllegalTransition(
            f"Run {run_id} ({run.state}) was tried again before: run {_successor(session, run)} took its place; look at that one."
        )
    run.superseded = True
    session.flush()
    (successor,) = _take_places(session, [(run_id, run.failure_class)], from_scratch=from_scratch)
    return successor


def retry_failed(session: Session, sweep_id: UUID, *, from_scratch: bool, include_cancelled: bool) -> int:
    """Try all runs of a sweep again that failed. Returns how many. Raises NotFound, IllegalTransition if there is none."""
    locked_sweep(session, sweep_id)
    ended: list[RunState] = ["failed", "cancelled"] if include_cancelled else ["failed"]
    picked = (
        select(RunRow.id)
        .where(RunRow.sweep_id == sweep_id, ~RunRow.superseded, RunRow.state.in_(ended))
        .order_by(RunRow.id)
        .with_for_update(key_share=True)
        .cte("picked")
        .prefix_with("MATERIALIZED")
    )
    rows = session.execute(
        update(RunRow)
        .where(RunRow.id == picked.c.id)
        .values(superseded=True)
        .returning(RunRow.id, RunRow.point, RunRow.failure_class),
        execution_options={"synchronize_session": False},
    ).all()
    if not rows:
        raise IllegalTransition(
            f"Of the runs of sweep {sweep_id} ({states_of(session, sweep_id)}), none is {' or '.join(ended)}; "
            "there is nothing to try again."
        )
    old = [(row.id, row.failure_class) for row in sorted(rows, key=lambda row: row.point)]
    return len(_take_places(session, old, from_scratch=from_scratch))


def _take_places(
    session: Session, old: Sequence[tuple[UUID, FailureClass | None]], *, from_scratch: bool
) -> list[UUID]:
    """Submit a run for each of those that are superseded now."""
    now = database_now(session)
    hopeful = [] if from_scratch else [run_id for run_id, failure in old if failure not in _FROM_SCRATCH]
    begins = beginnings(session, hopeful)
    rows: list[dict[str, Any]] = []
    events: list[dict[str, Any]] = []
    for run_id, _ in old:
        new_id, beginning = uuid7(), begins.get(run_id)
        path, step = (beginning.path, beginning.step) if beginning else (None, None)
        rows.append(
            {"new_id": new_id, "old_id": run_id, "from_path": path, "from_step": step, "done_before": step or 0}
        )
        told = {"retry_of": str(run_id)} | ({} if step is None else {"from_step": step})
        events.append({"run_id": run_id, "at": now, "kind": "superseded", "detail": {"by": str(new_id)}})
        events.append({"run_id": new_id, "at": now, "kind": "submitted", "detail": told})
    # Row by row within the database: long specs do not travel.
    session.connection().execute(_COPY, [{**row, "at": now} for row in rows])
    session.execute(insert(EventRow), events)
    return [row["new_id"] for row in rows]


_RUNS = cast("Table", RunRow.__table__)
_VALUES: dict[str, Any] = {
    "id": bindparam("new_id", type_=Uuid()),
    "retry_of": _RUNS.c.id,
    "superseded": literal(False),
    "begins_with": bindparam("from_path", type_=Text()),
    "begins_at_step": bindparam("from_step", type_=BigInteger()),
    "state": literal("queued"),
    "desired_state": literal("running"),
    "waiting_since": bindparam("at", type_=_RUNS.c.created_at.type),
    "created_at": bindparam("at", type_=_RUNS.c.created_at.type),
    "epoch": literal(0),
    "step": bindparam("done_before", type_=BigInteger()),
    "done": literal(0),
    "total": literal(0),
    **{name: _RUNS.c[name] for name in _COPIED},
}
_COPY = insert(_RUNS).from_select(
    list(_VALUES), select(*_VALUES.values()).where(_RUNS.c.id == bindparam("old_id", type_=Uuid()))
)


def _end_wait(session: Session, run: RunRow, *, from_scratch: bool) -> None:
    if run.desired_state != "running":
        raise IllegalTransition(
            f"Run {run.id} is retry_wait and will be {run.desired_state}, so it is not tried again; see to that wish first."
        )
    if from_scratch:
        raise IllegalTransition(
            f"Run {run.id} is retry_wait and goes on from its checkpoint; cancel it before you retry it from scratch."
        )
    now = database_now(session)
    if run.not_before is None or run.not_before > now:
        run.not_before = now
        record(session, run, "retry_requested", now=now)
        session.flush()


def _successor(session: Session, run: RunRow) -> UUID:
    # A successor is younger and has the same owner, which an index knows.
    return session.scalars(
        select(RunRow.id).where(RunRow.owner_id == run.owner_id, RunRow.id > run.id, RunRow.retry_of == run.id)
    ).one()
