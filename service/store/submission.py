"""Runs and sweeps enter the queue here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, cast
from uuid import UUID

from sqlalchemy import Table, func, insert, select
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from prolu.client.wire import RunState
from prolu.spec import RunSpec, SweepSpec, digest_of
from prolu.spec.run import digest_of_document
from service.domain.errors import QueueFull
from service.domain.expansion import Point
from service.store import reuse
from service.store.db import clock, database_now
from service.store.models import EventRow, RunRow, SearchRow, SweepRow
from service.store.reuse import Finished
from service.store.turns import take_turn

# In these a run waits for its turn, if its owner wants it to run.
WAITS_IN: tuple[RunState, ...] = ("queued", "paused")
WAITS = RunRow.state.in_(WAITS_IN) & (RunRow.desired_state == "running")

# Made once, and of tables, not of objects: to build a statement or to track an object takes longer than the insert itself.
_ADD_RUN = insert(cast("Table", RunRow.__table__))
_ADD_RUN_NOW = _ADD_RUN.values(created_at=clock(), waiting_since=clock(), queued_at=clock()).returning(
    RunRow.created_at
)
_ADD_EVENT = insert(cast("Table", EventRow.__table__))
_NONE_REUSED: Mapping[str, Finished] = {}


class Submitted(NamedTuple):
    """A run that is in the queue now."""

    id: UUID
    columns: Mapping[str, Any]
    """What was written of it; columns that are left out are null, or at the defaults of the model."""


def require_room(session: Session, owner_id: UUID, adding: int, *, most: int | None) -> None:
    """Raise QueueFull where the user would have more than `most` runs waiting; None lets everybody have as many as they like.

    A run waits that is queued, or was resumed and will be; not one that will be paused or cancelled. Who adds runs of one user
    has to wait for whoever does so already; who locks runs too takes this turn first (`take_turn`).
    """
    if most is None or adding == 0:
        return
    name = take_turn(session, owner_id)
    waiting = session.scalars(select(func.count()).select_from(RunRow).where(RunRow.owner_id == owner_id, WAITS)).one()
    if waiting + adding > most:
        raise QueueFull(
            f"{name} has {waiting:,} of their runs waiting, this would add {adding:,}, and {most:,} may wait for one user; "
            "wait for some to start, cancel some, or ask an administrator for a higher limit."
        )


def submit_run(
    session: Session,
    *,
    owner_id: UUID,
    spec: RunSpec,
    priority: int,
    tier: int = 0,
    preemptible: bool = False,
    cloned_from: UUID | None = None,
    reused: Finished | None = None,
) -> Submitted:
    """Add one run to the queue; one that refers to a finished run has ended at once."""
    run_id = uuid7()
    document = spec.model_dump(mode="json")
    run = {
        **_columns(spec, document, digest=digest_of_document(document), data_digest=digest_of(document["data"])),
        "id": run_id,
        "owner_id": owner_id,
        "tier": tier,
        "priority": priority,
        "preemptible": preemptible,
        "cloned_from": cloned_from,
    }
    connection = session.connection()
    if reused is not None:
        now = database_now(session)
        run |= {"created_at": now, "waiting_since": now, "queued_at": now, **reuse.referring(reused, now=now)}
        connection.execute(_ADD_RUN, run)
        reuse.tell(session, [run], now=now)
        return Submitted(run_id, run)
    now = connection.execute(_ADD_RUN_NOW, run).scalar_one()
    run |= {"created_at": now, "waiting_since": now, "queued_at": now}
    detail = {} if cloned_from is None else {"cloned_from": str(cloned_from)}
    connection.execute(_ADD_EVENT, _submitted(run_id, now, detail))
    return Submitted(run_id, run)


def submit_sweep(
    session: Session,
    *,
    owner_id: UUID,
    spec: SweepSpec,
    points: Sequence[Point],
    priority: int,
    tier: int = 0,
    preemptible: bool = False,
    reused: Mapping[str, Finished] = _NONE_REUSED,
    reuse_later: bool = False,
) -> SweepRow:
    """Add a sweep and a run for each of its points, all or none; those of a search are asked for later.

    Points whose digest is in `reused` refer to that run; those of a search may do so if `reuse_later`.
    """
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
        early_stopping=None if spec.early_stopping is None else spec.early_stopping.model_dump(mode="json"),
        created_at=database_now(session),
    )
    session.add(sweep)
    session.flush()
    if spec.search is not None:
        session.add(SearchRow(sweep_id=sweep.id, state="asking", asked=0, told=0, reuse=reuse_later))
        session.flush()
    add_points(session, sweep, points, first=0, reused=reused)
    return sweep


def add_points(
    session: Session,
    sweep: SweepRow,
    points: Sequence[Point],
    *,
    first: int,
    tier: int | None = None,
    reused: Mapping[str, Finished] = _NONE_REUSED,
    told: Mapping[str, Any] | None = None,
) -> list[UUID]:
    """Add a run for each of `points` to a sweep, with the sweep's place in the queue; `first` is the first one's index.

    Those whose digest is in `reused` refer to that run, and have ended. `told` is what the events say beside. Returns the runs.
    """
    if not points:
        return []
    now = database_now(session)
    runs = [_of_point(point, sweep, index=index, now=now) for index, point in enumerate(points, start=first)]
    if tier is not None:
        runs = [{**run, "tier": tier} for run in runs]
    waiting = [run for run in runs if run["digest"] not in reused]
    ended = [run | reuse.referring(reused[run["digest"]], now=now) for run in runs if run["digest"] in reused]
    connection = session.connection()
    if waiting:
        connection.execute(_ADD_RUN, waiting)
        connection.execute(_ADD_EVENT, [_submitted(run["id"], now, dict(told or {})) for run in waiting])
    if ended:
        connection.execute(_ADD_RUN, ended)
        reuse.tell(session, ended, now=now)
    return [run["id"] for run in runs]


def _submitted(run_id: UUID, now: datetime, detail: dict[str, Any]) -> dict[str, Any]:
    return {"run_id": run_id, "at": now, "kind": "submitted", "epoch": None, "detail": detail}


def _of_point(point: Point, sweep: SweepRow, *, index: int, now: datetime) -> dict[str, Any]:
    document = point.spec.model_dump(mode="json")
    return {
        **_columns(point.spec, document, digest=point.digest, data_digest=point.data_digest),
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
        "queued_at": now,
    }


def _columns(spec: RunSpec, document: Mapping[str, Any], *, digest: str, data_digest: str) -> dict[str, Any]:
    return {
        "name": spec.name,
        "digest": digest,
        "data_digest": data_digest,
        "spec": document,
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
