"""Who does a chore, and what comes of it. Written by the dispatcher that leads.

    queued     -> running     it is taken, with the next epoch
    running    -> queued      its worker was lost, at most twice; or its dispatcher leads no more
    running    -> succeeded   what it made is recorded, after the last of its files is in the store
    running    -> failed      it cannot be done, took too long, or three workers were lost with it

A chore takes seconds and changes nothing until it is recorded, so nobody takes over a worker from a dispatcher that is gone:
the chore is done again, as another epoch, in another folder. Whatever the first one still says is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, or_, select, tuple_, update
from sqlalchemy.orm import Session

from prolu.client.wire import ChoreKind
from prolu.spec.report import storable
from service.store.chores import OPEN, folder_of
from service.store.db import database_now
from service.store.models import CheckpointRow, ChoreRow

# Workers that may be lost with one chore.
MOST_LOSSES = 3
_PAUSE_SECONDS = 10.0
_UNSYNCHRONISED = {"synchronize_session": False}


@dataclass(frozen=True)
class Taken:
    """A chore that was claimed."""

    id: UUID
    epoch: int
    kind: ChoreKind
    format: str
    checkpoint: str
    """Folder of the checkpoint below the artifact root."""
    target: str
    """Folder of this attempt alone, for what it makes, below the artifact root."""

    @property
    def name(self) -> str:
        """What the worker is called."""
        return f"chore-{self.id}-e{self.epoch}"


def any_open(session: Session) -> bool:
    """Whether there is anything to do."""
    return session.scalar(select(ChoreRow.id).where(ChoreRow.state.in_(OPEN)).limit(1)) is not None


def take(session: Session, holder: str, *, at_once: int, at_work: Collection[tuple[UUID, int]] = ()) -> list[Taken]:
    """Claim the oldest chores, so that at most so many are.

    What another dispatcher had is taken up again, and what this one has but does not know of: `at_work` names the chores, with
    their epochs, that it does. A checkpoint that somebody holds, perhaps to delete it, is left for the next time. Whoever calls
    holds the lead in this transaction.
    """
    now = database_now(session)
    known = tuple_(ChoreRow.id, ChoreRow.epoch).in_([*at_work])
    left_behind = update(ChoreRow).where(ChoreRow.state == "running", (ChoreRow.holder != holder) | ~known)
    session.execute(left_behind.values(state="queued", holder=None), execution_options=_UNSYNCHRONISED)
    working = session.scalar(select(func.count()).where(ChoreRow.state == "running")) or 0
    due = (
        select(ChoreRow, CheckpointRow.path)
        .join(CheckpointRow, CheckpointRow.id == ChoreRow.checkpoint_id)
        .where(ChoreRow.state == "queued", or_(ChoreRow.not_before.is_(None), ChoreRow.not_before <= now))
        .where(CheckpointRow.deleting_since.is_(None))
        .order_by(ChoreRow.id)
        .limit(max(0, at_once - working))
        # Both rows, or neither: of a checkpoint that is marked meanwhile nothing is taken, and nobody waits in a circle.
        .with_for_update(of=[ChoreRow, CheckpointRow], key_share=True, skip_locked=True)
        .execution_options(populate_existing=True)
    )
    taken = []
    for row, path in session.execute(due).all():
        row.state, row.holder, row.started_at, row.not_before = "running", holder, now, None
        row.epoch += 1
        target = f"{folder_of(row.checkpoint_id)}/{row.id}-e{row.epoch}"
        taken.append(Taken(row.id, row.epoch, row.kind, row.format, path, target))
    session.flush()
    return taken


def succeed(session: Session, chore: Taken, outcome: Mapping[str, Any]) -> bool:
    """Record what a chore made. False for an attempt that is not the present one: nothing is written then."""
    path = chore.target if chore.kind == "export" else None
    return _end(session, chore, state="succeeded", message=None, path=path, outcome=dict(outcome))


def fail(session: Session, chore: Taken, message: str) -> bool:
    """Record that a chore cannot be done. False as for `succeed`."""
    return _end(session, chore, state="failed", message=storable(message))


def lose(session: Session, chore: Taken, message: str) -> bool:
    """Try a chore again whose worker was lost, a little later; the third loss is its end. False as for `succeed`."""
    message = storable(message)
    losses = session.scalar(select(ChoreRow.losses).where(ChoreRow.id == chore.id)) or 0
    if losses + 1 >= MOST_LOSSES:
        return _end(session, chore, state="failed", message=f"Tried {MOST_LOSSES} times. {message}", losses=losses + 1)
    later = database_now(session) + timedelta(seconds=_PAUSE_SECONDS * (losses + 1))
    again = {"state": "queued", "holder": None, "losses": losses + 1, "not_before": later, "message": message}
    return _write(session, chore, again)


def _end(session: Session, chore: Taken, **values: Any) -> bool:
    return _write(session, chore, {"holder": None, "finished_at": database_now(session), **values})


def _write(session: Session, chore: Taken, values: Mapping[str, Any]) -> bool:
    """The fence: only for the attempt that is at work."""
    mine = (ChoreRow.id == chore.id, ChoreRow.epoch == chore.epoch, ChoreRow.state == "running")
    written = update(ChoreRow).where(*mine).values(dict(values)).returning(ChoreRow.id)
    return session.execute(written, execution_options=_UNSYNCHRONISED).first() is not None
