"""Where an attempt begins: at which checkpoint, or from scratch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from service.store.models import AttemptRow, CheckpointRow, RunRow


@dataclass(frozen=True)
class Beginning:
    """A checkpoint by its folder below the artifact root, and its step."""

    path: str
    step: int


def beginnings(session: Session, run_ids: Sequence[UUID]) -> dict[UUID, Beginning]:
    """Give where the next attempt of each run begins; a run that begins from scratch is left out.

    That is its furthest checkpoint; before its first, the one of the run whose place it took. One that an attempt of the
    run could not read does not count.
    """
    inherited = session.execute(
        select(RunRow.id, RunRow.begins_with, RunRow.begins_at_step).where(
            RunRow.id.in_(run_ids), RunRow.begins_with.is_not(None), ~_found_bad(RunRow.id, RunRow.begins_with)
        )
    )
    furthest = (
        select(CheckpointRow.id)
        .where(
            CheckpointRow.run_id == RunRow.id,
            CheckpointRow.deleting_since.is_(None),
            ~_found_bad(CheckpointRow.run_id, CheckpointRow.path),
        )
        .order_by(CheckpointRow.step.desc(), CheckpointRow.epoch.desc())
        .limit(1)
        .correlate(RunRow)
        .scalar_subquery()
    )
    own = session.execute(
        select(CheckpointRow.run_id, CheckpointRow.path, CheckpointRow.step)
        .join(RunRow, CheckpointRow.id == furthest)
        .where(RunRow.id.in_(run_ids))
    )
    found = {row.id: Beginning(row.begins_with, row.begins_at_step) for row in inherited}
    return found | {row.run_id: Beginning(row.path, row.step) for row in own}


def _found_bad(run_id: InstrumentedAttribute[UUID], path: InstrumentedAttribute[str | None]) -> ColumnElement[bool]:
    return (
        select(AttemptRow.epoch)
        .where(
            AttemptRow.run_id == run_id,
            AttemptRow.resume_from == path,
            AttemptRow.failure_class == "bad_checkpoint",
        )
        .exists()
    )
