"""The queue as the dispatcher works it: claim, stop, lose, reap, settle.

    submit ──> queued ──claim──> starting ──(first report)──> running ──(outcome)──> an end, or the queue again
               lose, reap: the attempt is given up          settle: wishes and waits that need no attempt

Every function takes a session inside its caller's transaction. The database's clock decides leases. Reports of
attempts are applied in `service.store.reports`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from prolu.client.wire import RunState
from prolu.spec import RunSpec
from prolu.spec.report import FailureClass, StopReason
from service.domain import lifecycle
from service.store.attempts import end_badly, held, move
from service.store.db import database_now
from service.store.live import LiveAttempt, live
from service.store.models import AttemptRow, EventRow, RunRow
from service.store.nodes import record_nodes
from service.store.resumption import beginnings
from service.store.settling import settle
from service.store.situation import IS_WAITING
from service.store.submission import submit_run, submit_sweep
from service.store.wishes import request_cancel

__all__ = [
    "ACTOR_PREFIX",
    "Claim",
    "LiveAttempt",
    "claim",
    "live",
    "lose",
    "mark_stopping",
    "reap",
    "record_nodes",
    "request_cancel",
    "settle",
    "submit_run",
    "submit_sweep",
]

# Ray actors whose name begins so are ours.
ACTOR_PREFIX = "prolu-"

_AT_ONCE = 500


@dataclass(frozen=True)
class Claim:
    """A run that this dispatcher has taken for a new attempt."""

    run_id: UUID
    epoch: int
    spec: RunSpec
    resume_from: str | None
    actor_name: str
    nodes: tuple[str, ...] = ()
    """Where each rank is to start; empty leaves it to the cluster."""
    waited_seconds: float = 0.0
    """How long it was queued before this attempt."""


def claim(
    session: Session,
    run_ids: Sequence[UUID],
    *,
    holder: str,
    lease_seconds: float,
    nodes: Mapping[UUID, Sequence[str]] | None = None,
    devices: Mapping[UUID, Sequence[Sequence[str]]] | None = None,
) -> list[Claim]:
    """Take those of `run_ids` that are still claimable, in the order given: new epoch, attempt row, lease.

    `nodes` says where the plan puts each rank, and `devices` on which GPUs it expects it there; without them, or for a run
    that they lack, any node will do.
    Claimers that come at once get different runs; who comes second passes over what the first one holds.
    """
    now = database_now(session)
    rule = lifecycle.MOVES["claim"]
    # One statement. MATERIALIZED, since PostgreSQL may otherwise evaluate the select again and lock other rows.
    picked = (
        select(RunRow.id)
        .where(RunRow.id.in_(run_ids), IS_WAITING)
        .with_for_update(key_share=True, skip_locked=True)
        .cte("picked")
        .prefix_with("MATERIALIZED")
    )
    taken = session.execute(
        update(RunRow)
        .where(RunRow.id == picked.c.id)
        .values(
            state=rule.target,
            epoch=RunRow.epoch + 1,
            started_at=func.coalesce(RunRow.started_at, now),
            message=None,
        )
        .returning(RunRow.id, RunRow.epoch, RunRow.spec, RunRow.queued_at),
        execution_options={"synchronize_session": False},
    ).all()
    if not taken:
        return []
    places = {run_id: place for place, run_id in enumerate(run_ids)}
    taken = sorted(taken, key=lambda row: places[row.id])
    begins = beginnings(session, [row.id for row in taken])
    planned, expected = nodes or {}, devices or {}
    attempts = []
    for row in taken:
        beginning = begins.get(row.id)
        path, step = (beginning.path, beginning.step) if beginning else (None, None)
        attempts.append(
            {
                "run_id": row.id,
                "epoch": row.epoch,
                "actor_name": f"{ACTOR_PREFIX}{row.id}-e{row.epoch}",
                "holder": holder,
                "lease_until": now + timedelta(seconds=lease_seconds),
                "last_seq": 0,
                "last_step": step or 0,
                "nodes": list(planned[row.id]) if row.id in planned else None,
                "devices": [list(names) for names in expected.get(row.id, ())] or None,
                "resume_from": path,
                "resumed_from_step": step,
                "started_at": now,
            }
        )
    session.execute(insert(AttemptRow), attempts)
    events = [
        {
            "run_id": attempt["run_id"],
            "at": now,
            "kind": rule.event,
            "epoch": attempt["epoch"],
            "detail": {name: attempt[name] for name in ("holder", "resumed_from_step") if attempt[name] is not None},
        }
        for attempt in attempts
    ]
    session.execute(insert(EventRow), events)
    claims = []
    for row, attempt in zip(taken, attempts, strict=True):
        try:
            spec = RunSpec.model_validate(row.spec)
        except ValidationError as error:  # submitted to a version that allowed it
            _refuse(session, row.id, row.epoch, error)
            continue
        claims.append(
            Claim(
                row.id,
                row.epoch,
                spec,
                attempt["resume_from"],
                attempt["actor_name"],
                tuple(attempt["nodes"] or ()),
                (now - row.queued_at).total_seconds(),
            )
        )
    return claims


def _refuse(session: Session, run_id: UUID, epoch: int, error: ValidationError) -> None:
    found = held(session, run_id, epoch)
    if found is not None:
        first = error.errors(include_url=False)[0]
        message = f"Its spec is not valid for this version of prolu: {first['loc']}: {first['msg']}; submit it anew."
        run, attempt = found
        now = database_now(session)
        end_badly(session, run, attempt, now=now, outcome="failed", failure_class="user_error", message=message)


def mark_stopping(
    session: Session, run_id: UUID, epoch: int, *, reason: StopReason, message: str | None = None
) -> bool:
    """Note that the attempt is asked to end, from when on and why. False where it is past, or was asked already."""
    found = held(session, run_id, epoch)
    if found is None or found[1].stop_asked_at is not None:
        return False
    run, attempt = found
    now = database_now(session)
    attempt.stop_asked_at, attempt.stop_reason, attempt.message = now, reason, message
    if run.state != "stopping":
        move(session, run, "stop", now=now, reason=reason, message=message)
    session.flush()
    return True


def lose(
    session: Session,
    run_id: UUID,
    epoch: int,
    *,
    failure_class: FailureClass,
    message: str,
    exit_cause: str | None = None,
    node: str | None = None,
) -> RunState | None:
    """Give up an attempt whose worker is gone. Returns the run's new state, or None where the attempt is past."""
    found = held(session, run_id, epoch)
    if found is None:
        return None
    run, attempt = found
    attempt.node = node or attempt.node
    now = database_now(session)
    end_badly(
        session,
        run,
        attempt,
        now=now,
        outcome="lost",
        failure_class=failure_class,
        message=message,
        exit_cause=exit_cause,
    )
    session.flush()
    return run.state


def reap(session: Session) -> list[tuple[UUID, int]]:
    """Give up the attempts whose lease has run out by the database's clock."""
    now = database_now(session)
    expired = session.execute(
        select(AttemptRow.run_id, AttemptRow.epoch)
        .where(AttemptRow.finished_at.is_(None), AttemptRow.lease_until < now)
        .order_by(AttemptRow.run_id)
        .limit(_AT_ONCE)
    ).all()
    reaped = []
    for run_id, epoch in expired:
        found = held(session, run_id, epoch)
        if found is None or found[1].lease_until >= now:
            continue  # ended or renewed while we waited for the lock
        run, attempt = found
        message = f"Nobody heard of the attempt since its lease ran out at {attempt.lease_until:%Y-%m-%d %H:%M:%S} UTC."
        # An attempt that never said a word did not come up, which costs the run no retry.
        failure_class: FailureClass = "lease_expired" if attempt.last_seq else "ray_infra"
        end_badly(session, run, attempt, now=now, outcome="lost", failure_class=failure_class, message=message)
        reaped.append((run_id, epoch))
    session.flush()
    return reaped
