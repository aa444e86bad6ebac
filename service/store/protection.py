"""Which checkpoints must stay: those that a run goes on from, or would if it were tried again.

A run that failed or was cancelled may be tried again until it was; whoever takes its place begins where it stopped.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TypeVar
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.domain import lifecycle
from service.store.models import AttemptRow, RunRow
from service.store.resumption import beginnings

Value = TypeVar("Value")

# So many ids in one statement.
_AT_ONCE = 1_000

# Whose attempts are over for good: it succeeded, or another run has taken its place.
_IS_SETTLED = (RunRow.state == "succeeded") | RunRow.superseded
_IN_USE = select(AttemptRow.resume_from).where(AttemptRow.finished_at.is_(None), AttemptRow.resume_from.is_not(None))


def needed_paths(session: Session, run_ids: Sequence[UUID], paths: Collection[str]) -> set[str]:
    """Give those of `paths` that one of the runs, or an attempt that lives, goes on from."""
    needed: set[str | None] = set(session.scalars(_IN_USE))
    for chunk in _chunks(run_ids):
        unsettled = session.scalars(select(RunRow.id).where(RunRow.id.in_(chunk), ~_IS_SETTLED)).all()
        needed |= {beginning.path for beginning in beginnings(session, unsettled).values()}
    return set(paths) & needed


def referred_paths(session: Session, paths: Collection[str]) -> set[str]:
    """Give those of `paths` that some run began with when it took another's place."""
    referred: set[str | None] = set()
    for chunk in _chunks(sorted(paths)):
        referred |= set(session.scalars(select(RunRow.begins_with).where(RunRow.begins_with.in_(chunk))))
    return set(paths) & referred


def reused_runs(session: Session, run_ids: Sequence[UUID]) -> set[UUID]:
    """Give those of the runs that others refer to instead of training again: their last checkpoints are the others' too."""
    reused: set[UUID | None] = set()
    for chunk in _chunks(run_ids):
        reused |= set(session.scalars(select(RunRow.reused_from).where(RunRow.reused_from.in_(chunk))))
    return set(run_ids) & reused


def referring_run(session: Session, run_id: UUID) -> UUID | None:
    """Name a run, not in the archive, that refers to this one instead of training again; None if there is none."""
    refers = select(RunRow.id).where(RunRow.reused_from == run_id, ~RunRow.archived)
    return session.scalars(refers.order_by(RunRow.id).limit(1)).first()


def needed_by(session: Session, run: RunRow, path: str) -> UUID | None:
    """Name a run that goes on from the checkpoint of `run` at `path`, unless it is over for good; None if there is none.

    That is `run` itself while it has not ended, a run that lives on it, or one that took a place with it and may be tried again.
    """
    if run.state not in lifecycle.TERMINAL:
        beginning = beginnings(session, [run.id]).get(run.id)
        if beginning is not None and beginning.path == path:
            return run.id
    living = select(AttemptRow.run_id).where(AttemptRow.finished_at.is_(None), AttemptRow.resume_from == path)
    inherits = select(RunRow.id).where(RunRow.begins_with == path, ~_IS_SETTLED)
    return session.scalars(living.limit(1)).first() or session.scalars(inherits.limit(1)).first()


def _chunks(values: Sequence[Value]) -> list[Sequence[Value]]:
    return [values[start : start + _AT_ONCE] for start in range(0, len(values), _AT_ONCE)]
