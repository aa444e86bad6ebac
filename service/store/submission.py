"""Runs and sweeps enter the queue here, and here their owners wish for an end. Writes wishes, never states of live runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import insert
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from prolu.spec import RunSpec, SweepSpec
from service.domain import lifecycle
from service.domain.errors import IllegalTransition, NotFound
from service.domain.expansion import Point
from service.store.attempts import lock_run, record
from service.store.db import database_now
from service.store.models import EventRow, RunRow, SweepRow


def submit_run(session: Session, *, owner_id: UUID, spec: RunSpec, priority: int) -> RunRow:
    """Add one run to the queue."""
    now = database_now(session)
    run = RunRow(
        **_columns(spec, spec.digest()), owner_id=owner_id, priority=priority, created_at=now, waiting_since=now
    )
    session.add(run)
    session.flush()
    record(session, run, "submitted", now=now)
    session.flush()
    return run


def submit_sweep(
    session: Session, *, owner_id: UUID, spec: SweepSpec, points: Sequence[Point], priority: int
) -> SweepRow:
    """Add a sweep and a run for each of its points, all or none."""
    now = database_now(session)
    sweep = SweepRow(
        id=uuid7(),
        owner_id=owner_id,
        name=spec.name,
        spec=spec.model_dump(mode="json"),
        count=len(points),
        priority=priority,
        max_concurrent=spec.max_concurrent,
        created_at=now,
    )
    session.add(sweep)
    session.flush()
    runs = [_of_point(point, sweep, owner_id=owner_id, priority=priority, now=now) for point in points]
    session.execute(insert(RunRow), runs)
    events = [{"run_id": run["id"], "at": now, "kind": "submitted", "epoch": None, "detail": {}} for run in runs]
    session.execute(insert(EventRow), events)
    return sweep


def request_cancel(session: Session, run_id: UUID) -> RunRow:
    """Write the wish that the run end. A second wish changes nothing.

    Raises NotFound, and IllegalTransition for a run that has succeeded or failed.
    """
    run = lock_run(session, run_id)
    if run is None:
        raise NotFound(f"There is no run {run_id}; look it up with GET /v1/runs.")
    if run.desired_state == "cancelled":
        return run
    if run.state in lifecycle.TERMINAL:
        raise IllegalTransition(f"Run {run_id} is already finished ({run.state}); there is nothing left to cancel.")
    run.desired_state = "cancelled"
    record(session, run, "cancel_requested", now=database_now(session))
    session.flush()
    return run


def _of_point(point: Point, sweep: SweepRow, *, owner_id: UUID, priority: int, now: datetime) -> dict[str, Any]:
    return {
        **_columns(point.spec, point.digest),
        "id": uuid7(),
        "owner_id": owner_id,
        "sweep_id": sweep.id,
        "point": point.index,
        "variant": point.variant,
        "set": dict(point.set),
        "priority": priority,
        "created_at": now,
        "waiting_since": now,
    }


def _columns(spec: RunSpec, digest: str) -> dict[str, Any]:
    return {
        "name": spec.name,
        "digest": digest,
        "data_digest": spec.data_digest(),
        "spec": spec.model_dump(mode="json"),
        "ranks": spec.resources.ranks,
        "cpus": spec.resources.cpus,
        "gpus": spec.resources.gpus,
        "gpu_type": spec.resources.gpu_type,
        "memory_gb": spec.resources.memory_gb,
        "run_limit_seconds": spec.limits.run_seconds,
        "start_limit_seconds": spec.limits.start_seconds,
        "no_progress_limit_seconds": spec.limits.no_progress_seconds,
        "total_steps": spec.training.steps,
        "state": "queued",
        "desired_state": "running",
        "epoch": 0,
        "step": 0,
        "done": 0,
        "total": 0,
    }
