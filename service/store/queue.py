"""The queue as the dispatcher works it: claim, stop, lose, reap, settle.

    submit ──> queued ──claim──> starting ──(first report)──> running ──(outcome)──> an end, or the queue again
               lose, reap: the attempt is given up          settle: wishes and waits that need no attempt

Every function takes a session inside its caller's transaction. The database's clock decides leases. Reports of
attempts are applied in `service.store.reports`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy import and_, func, insert, or_, select, update
from sqlalchemy.orm import Session, defer

from prolu.client.wire import DesiredState, RunState
from prolu.spec import ResourcesSpec, RunSpec
from prolu.spec.report import FailureClass
from service.domain import lifecycle
from service.domain.scheduling import Candidate
from service.store.attempts import end_badly, held, move
from service.store.db import database_now
from service.store.models import AttemptRow, EventRow, RunRow, SweepRow, UserRow
from service.store.nodes import nodes, record_nodes
from service.store.resumption import beginnings
from service.store.settling import settle
from service.store.submission import submit_run, submit_sweep
from service.store.wishes import request_cancel

__all__ = [
    "ACTOR_PREFIX",
    "Candidate",
    "Claim",
    "LiveAttempt",
    "candidates",
    "claim",
    "live",
    "lose",
    "mark_stopping",
    "nodes",
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


@dataclass(frozen=True)
class LiveAttempt:
    """A run that an attempt works on, or is about to."""

    run_id: UUID
    epoch: int
    sweep_id: UUID | None
    owner: str
    state: RunState
    desired_state: DesiredState
    resources: ResourcesSpec
    actor_name: str
    holder: str
    last_seq: int
    node: str | None = None


def candidates(session: Session, *, limit: int) -> list[Candidate]:
    """Give the first `limit` runs of the queue that may be claimed; those of sweeps at their max_concurrent are passed over."""
    saturated = (
        select(RunRow.sweep_id)
        .join(AttemptRow, AttemptRow.run_id == RunRow.id)
        .join(SweepRow, SweepRow.id == RunRow.sweep_id)
        .where(AttemptRow.finished_at.is_(None), SweepRow.max_concurrent.is_not(None))
        .group_by(RunRow.sweep_id, SweepRow.max_concurrent)
        .having(func.count() >= SweepRow.max_concurrent)
    )
    rows = session.execute(
        select(
            RunRow.id,
            RunRow.sweep_id,
            UserRow.name,
            RunRow.priority,
            RunRow.created_at,
            RunRow.cpus,
            RunRow.gpus,
            RunRow.memory_gb,
            SweepRow.max_concurrent,
        )
        .join(UserRow, UserRow.id == RunRow.owner_id)
        .outerjoin(SweepRow, SweepRow.id == RunRow.sweep_id)
        .where(_IS_CLAIMABLE, or_(RunRow.sweep_id.is_(None), RunRow.sweep_id.not_in(saturated)))
        .order_by(*_QUEUE_ORDER)
        .limit(limit)
    )
    return [
        Candidate(
            run_id=row.id,
            sweep_id=row.sweep_id,
            owner=row.name,
            priority=row.priority,
            created_at=row.created_at,
            resources=_resources(row),
            max_concurrent=row.max_concurrent,
        )
        for row in rows
    ]


_IS_CLAIMABLE = and_(RunRow.desired_state == "running", RunRow.state == "queued")
_QUEUE_ORDER = (RunRow.priority.desc(), RunRow.id)


def claim(session: Session, run_ids: Sequence[UUID], *, holder: str, lease_seconds: float) -> list[Claim]:
    """Take those of `run_ids` that are still claimable, in the order given: new epoch, attempt row, lease.

    Claimers that come at once get different runs; who comes second passes over what the first one holds.
    """
    now = database_now(session)
    rule = lifecycle.MOVES["claim"]
    # One statement. MATERIALIZED, since PostgreSQL may otherwise evaluate the select again and lock other rows.
    picked = (
        select(RunRow.id)
        .where(RunRow.id.in_(run_ids), _IS_CLAIMABLE)
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
        .returning(RunRow.id, RunRow.epoch, RunRow.spec),
        execution_options={"synchronize_session": False},
    ).all()
    if not taken:
        return []
    places = {run_id: place for place, run_id in enumerate(run_ids)}
    taken = sorted(taken, key=lambda row: places[row.id])
    begins = beginnings(session, [row.id for row in taken])
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
        claims.append(Claim(row.id, row.epoch, spec, attempt["resume_from"], attempt["actor_name"]))
    return claims


def _refuse(session: Session, run_id: UUID, epoch: int, error: ValidationError) -> None:
    found = held(session, run_id, epoch)
    if found is not None:
        first = error.errors(include_url=False)[0]
        message = f"Its spec is not valid for this version of prolu: {first['loc']}: {first['msg']}; submit it anew."
        run, attempt = found
        now = database_now(session)
        end_badly(session, run, attempt, now=now, outcome="failed", failure_class="user_error", message=message)


def live(session: Session) -> list[LiveAttempt]:
    """Give every attempt that holds a run, oldest run first."""
    rows = session.execute(
        select(RunRow, AttemptRow, UserRow.name)
        .join(AttemptRow, and_(AttemptRow.run_id == RunRow.id, AttemptRow.epoch == RunRow.epoch))
        .join(UserRow, UserRow.id == RunRow.owner_id)
        .where(RunRow.state.in_(sorted(lifecycle.LIVE)))
        .order_by(RunRow.id)
        .options(defer(RunRow.spec), defer(RunRow.set), defer(RunRow.metrics))
        .execution_options(populate_existing=True)
    )
    return [
        LiveAttempt(
            run_id=run.id,
            epoch=run.epoch,
            sweep_id=run.sweep_id,
            owner=owner,
            state=run.state,
            desired_state=run.desired_state,
            resources=_resources(run),
            actor_name=attempt.actor_name,
            holder=attempt.holder,
            last_seq=attempt.last_seq,
            node=attempt.node,
        )
        for run, attempt, owner in rows
    ]


def mark_stopping(session: Session, run_id: UUID, epoch: int) -> bool:
    """Note that the attempt is asked to end. False where it is past, or is stopping already."""
    found = held(session, run_id, epoch)
    if found is None or found[0].state == "stopping":
        return False
    move(session, found[0], "stop", now=database_now(session))
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
        failure_class: FailureClass = "ray_infra" if run.state == "starting" else "lease_expired"
        end_badly(session, run, attempt, now=now, outcome="lost", failure_class=failure_class, message=message)
        reaped.append((run_id, epoch))
    session.flush()
    return reaped


def _resources(row: Any) -> ResourcesSpec:
    # Not validated again: what an earlier version accepted must not stop the queue of a later one.
    return ResourcesSpec.model_construct(cpus=row.cpus, gpus=row.gpus, memory_gb=row.memory_gb)
