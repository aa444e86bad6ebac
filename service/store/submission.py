"""Runs and sweeps enter the queue here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import insert
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from prolu.spec import RunSpec, SweepSpec
from service.domain.expansion import Point
from service.store.attempts import record
from service.store.db import database_now
from service.store.models import EventRow, RunRow, SweepRow


def submit_run(
    session: Session,
    *,
    owner_id: UUID,
    spec: RunSpec,
    priority: int,
    tier: int = 0,
    preemptible: bool = False,
    cloned_from: UUID | None = None,
) -> RunRow:
    """Add one run to the queue."""
    now = database_now(session)
    run = RunRow(
        **_columns(spec, spec.digest()),
        owner_id=owner_id,
        tier=tier,
        priority=priority,
        preemptible=preemptible,
        cloned_from=cloned_from,
        created_at=now,
        waiting_since=now,
    )
    session.add(run)
    session.flush()
    record(session, run, "submitted", now=now, cloned_from=None if cloned_from is None else str(cloned_from))
    session.flush()
    return run


def submit_sweep(
    session: Session,
    *,
    owner_id: UUID,
    spec: SweepSpec,
    points: Sequence[Point],
    priority: int,
    tier: int = 0,
    preemptible: bool = False,
) -> SweepRow:
    """Add a sweep and a run for each of its points, all or none."""
    sweep = SweepRow(
        id=uuid7(),
        owner_id=owner_id,
        name=spec.name,
        spec=spec.model_dump(mode="json"),
        count=len(points),
        tier=tier,
        priority=priority,
        preemptible=preemptible,
        max_concurrent=spec.max_concurrent,
        created_at=database_now(session),
    )
    session.add(sweep)
    session.flush()
    add_points(session, sweep, points, first=0)
    return sweep


def add_points(session: Session, sweep: SweepRow, points: Sequence[Point], *, first: int) -> None:
    """Add a run for each of `points` to a sweep, with the sweep's place in the queue; `first` is the first one's index."""
    now = database_now(session)
    runs = [_of_point(point, sweep, index=index, now=now) for index, point in enumerate(points, start=first)]
    session.execute(insert(RunRow), runs)
    events = [{"run_id": run["id"], "at": now, "kind": "submitted", "epoch": None, "detail": {}} for run in runs]
    session.execute(insert(EventRow), events)


def _of_point(point: Point, sweep: SweepRow, *, index: int, now: datetime) -> dict[str, Any]:
    return {
        **_columns(point.spec, point.digest),
        "id": uuid7(),
        "owner_id": sweep.owner_id,
        "sweep_id": sweep.id,
        "point": index,
        "variant": point.variant,
        "set": dict(point.set),
        "tier": sweep.tier,
        "priority": sweep.priority,
        "preemptible": sweep.preemptible,
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
