"""Runs that come from other runs: a retry takes the place of one that ended badly, a clone stands beside one.

A finished run never changes, so that to try it again is to submit a new run with its spec, its place in the queue and
in its sweep; the old one is `superseded` from then on, which is no state. The new run may have other time limits, which
are no part of the digest: it trains the same weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID

from sqlalchemy import BigInteger, Table, Text, Uuid, bindparam, insert, literal, select, update
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from prolu.client.wire import RunState
from prolu.spec.report import FailureClass
from service.domain.errors import IllegalTransition
from service.store import searches
from service.store.attempts import record
from service.store.db import database_now
from service.store.models import EventRow, RunRow
from service.store.resumption import beginnings
from service.store.submission import require_room
from service.store.turns import take_turn
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
    "tags",
    "note",
    "pinned",
]


@dataclass(frozen=True)
class Again:
    """How runs are tried again."""

    from_scratch: bool = False
    """Whether they begin at step 0, and not at their furthest checkpoint."""
    limits: Mapping[str, float] = field(default_factory=dict)
    """Seconds by the names of `LimitsSpec`; those that are left out stay as they were."""


def retry(session: Session, run_id: UUID, again: Again, *, most_waiting: int | None = None) -> UUID:
    """Try a run again that failed or was cancelled, or end the wait of one before its next attempt.

    Returns the run that takes its place, or the run itself where it waited. Raises NotFound, IllegalTransition, QueueFull
    where the owner would have more than `most_waiting` runs waiting.
    """
    run = locked(session, run_id, in_turn=most_waiting is not None)
    if run.state == "retry_wait":
        _end_wait(session, run, again)
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
    require_room(session, run.owner_id, 1, most=most_waiting)
    run.superseded = True
    session.flush()
    (successor,) = _take_places(session, [(run_id, run.failure_class)], again)
    return successor


def retry_failed(
    session: Session, sweep_id: UUID, again: Again, *, include_cancelled: bool, most_waiting: int | None = None
) -> int:
    """Try all runs of a sweep again that failed, or none. Returns how many.

    Raises NotFound, IllegalTransition if there is none, QueueFull where the owner would have more than `most_waiting` runs
    waiting.
    """
    sweep = locked_sweep(session, sweep_id)
    if most_waiting is not None:
        take_turn(session, sweep.owner_id)
    ended: list[RunState] = ["failed", "cancelled"] if include_cancelled else ["failed"]
    picked = (
        select(RunRow.id)
        .where(
            RunRow.sweep_id == sweep_id,
            ~RunRow.superseded,
            RunRow.state.in_(ended),
            RunRow.stopped_early.is_(None),  # they were not cancelled by anybody, and would be stopped again
        )
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
    require_room(session, sweep.owner_id, len(rows), most=most_waiting)
    old = [(row.id, row.failure_class) for row in sorted(rows, key=lambda row: row.point)]
    return len(_take_places(session, old, again))


def _take_places(session: Session, old: Sequence[tuple[UUID, FailureClass | None]], again: Again) -> list[UUID]:
    """Submit a run for each of those that are superseded now."""
    now = database_now(session)
    hopeful = [] if again.from_scratch else [run_id for run_id, failure in old if failure not in _FROM_SCRATCH]
    begins = beginnings(session, hopeful)
    rows: list[dict[str, Any]] = []
    events: list[dict[str, Any]] = []
    for run_id, _ in old:
        new_id, beginning = uuid7(), begins.get(run_id)
        path, step = (beginning.path, beginning.step) if beginning else (None, None)
        rows.append(
            {"new_id": new_id, "old_id": run_id, "from_path": path, "from_step": step, "done_before": step or 0}
        )
        told: dict[str, Any] = {"retry_of": str(run_id)} | ({} if step is None else {"from_step": step})
        told |= {"limits": dict(again.limits)} if again.limits else {}
        events.append({"run_id": run_id, "at": now, "kind": "superseded", "detail": {"by": str(new_id)}})
        events.append({"run_id": new_id, "at": now, "kind": "submitted", "detail": told})
    # Row by row within the database: long specs do not travel.
    session.connection().execute(_COPY, [{**row, "at": now} for row in rows])
    session.execute(insert(EventRow), events)
    searches.reopen(session, {row["old_id"]: row["new_id"] for row in rows})
    new = [row["new_id"] for row in rows]
    if again.limits:
        _limit(session, new, again.limits)
    return new


def _limit(session: Session, run_ids: Sequence[UUID], limits: Mapping[str, float]) -> None:
    """Give runs that nobody has seen yet other time limits."""
    columns = {name.replace("_seconds", "_limit_seconds"): seconds for name, seconds in limits.items()}
    specs = session.execute(select(RunRow.id, RunRow.spec).where(RunRow.id.in_(run_ids))).all()
    changed = [
        {"limited": row.id, "described": {**row.spec, "limits": {**row.spec.get("limits", {}), **limits}}}
        for row in specs
    ]
    statement = update(_RUNS).where(_RUNS.c.id == bindparam("limited", type_=Uuid()))
    session.connection().execute(
        statement.values(spec=bindparam("described", type_=_RUNS.c.spec.type), **columns), changed
    )


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
    "queued_at": bindparam("at", type_=_RUNS.c.created_at.type),
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


def _end_wait(session: Session, run: RunRow, again: Again) -> None:
    if run.desired_state != "running":
        raise IllegalTransition(
            f"Run {run.id} is retry_wait and will be {run.desired_state}, so it is not tried again; see to that wish first."
        )
    if again.from_scratch or again.limits:
        raise IllegalTransition(
            f"Run {run.id} is retry_wait and goes on from its checkpoint; cancel it before you retry it "
            f"{'from scratch' if again.from_scratch else 'with other limits'}."
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
