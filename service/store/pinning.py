"""Pin and unpin checkpoints: what is pinned, no policy deletes."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.orm import Session

from prolu.client.wire import CheckpointRead
from service.store import results
from service.store.models import CheckpointRow
from service.store.wishes import locked


def held_checkpoint(session: Session, checkpoint_id: UUID) -> CheckpointRead:
    """Read a checkpoint whose run is held until the transaction ends, so that nobody deletes it meanwhile. Raises NotFound."""
    found, _ = results.checkpoint(session, checkpoint_id)
    locked(session, found.run_id)
    session.expire_all()
    return results.checkpoint(session, checkpoint_id)[0]


def pin(session: Session, checkpoint_id: UUID, *, pinned: bool) -> CheckpointRead:
    """Pin a held checkpoint, or unpin it."""
    row = session.get_one(CheckpointRow, checkpoint_id)
    row.pinned = pinned
    session.flush()
    return results.checkpoint(session, checkpoint_id)[0]
