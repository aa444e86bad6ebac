"""What people say of runs and sweeps that are there: tags, notes, pins, the archive. None of it changes what is trained.

Each change is an event of the run, or of the runs whose archive it changes. What is archived has ended: nothing that takes the
cluster's time is out of sight.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from prolu.client.wire import DecisionPatch, PlacePatch
from service.domain import lifecycle
from service.domain.errors import IllegalTransition
from service.store.attempts import record
from service.store.db import database_now
from service.store.models import EventRow, RunRow, SweepRow

_KEPT = {*DecisionPatch.model_fields} - {*PlacePatch.model_fields}


def keep_run(session: Session, run: RunRow, patch: DecisionPatch) -> None:
    """Change what is said of a locked run. Raises IllegalTransition where one is to be archived that has not ended."""
    changes = _changes(run, patch)
    if changes.get("archived") and run.state not in lifecycle.TERMINAL:
        raise IllegalTransition(f"Run {run.id} is {run.state}; archive it once it has ended.")
    if changes:
        _change(run, changes)
        record(session, run, "changed", now=database_now(session), **_told(changes))
        session.flush()


def keep_sweep(session: Session, sweep: SweepRow, patch: DecisionPatch) -> None:
    """Change what is said of a locked sweep; its runs go into the archive with it, and come out.

    Raises IllegalTransition where one is to be archived of which a run has not ended.
    """
    changes = _changes(sweep, patch)
    _change(sweep, changes)
    session.flush()
    if "archived" in changes:
        if changes["archived"]:
            _refuse_unfinished(session, sweep.id)
        _archive_runs(session, sweep.id, archived=changes["archived"])


def _changes(row: RunRow | SweepRow, patch: DecisionPatch) -> dict[str, Any]:
    asked = patch.model_dump(include=_KEPT, exclude_none=True)
    if "tags" in asked:
        asked["tags"] = sorted(set(asked["tags"]))
    if "note" in asked:
        asked["note"] = asked["note"] or None
    return {name: value for name, value in asked.items() if getattr(row, name) != value}


def _change(row: RunRow | SweepRow, changes: dict[str, Any]) -> None:
    for name, value in changes.items():
        setattr(row, name, value)


def _told(changes: dict[str, Any]) -> dict[str, Any]:
    """What an event tells: not the words of a note, which may be long, but that there is one."""
    return {name: value is not None if name == "note" else value for name, value in changes.items()}


def _refuse_unfinished(session: Session, sweep_id: UUID) -> None:
    going = select(RunRow.id, RunRow.state).where(
        RunRow.sweep_id == sweep_id, RunRow.state.not_in(sorted(lifecycle.TERMINAL))
    )
    found = session.execute(going.limit(1)).first()
    if found is not None:
        raise IllegalTransition(
            f"Sweep {sweep_id} has runs that have not ended ({found.id} is {found.state}); archive it later."
        )


def _archive_runs(session: Session, sweep_id: UUID, *, archived: bool) -> None:
    picked = (
        select(RunRow.id)
        .where(RunRow.sweep_id == sweep_id, RunRow.archived != archived)
        .order_by(RunRow.id)
        .with_for_update(key_share=True)
        .cte("picked")
        .prefix_with("MATERIALIZED")
    )
    moved = session.execute(
        update(RunRow).where(RunRow.id == picked.c.id).values(archived=archived).returning(RunRow.id, RunRow.epoch),
        execution_options={"synchronize_session": False},
    ).all()
    if moved:
        told = {"kind": "changed", "at": database_now(session), "detail": {"archived": archived}}
        session.execute(insert(EventRow), [{"run_id": row.id, "epoch": row.epoch or None, **told} for row in moved])
