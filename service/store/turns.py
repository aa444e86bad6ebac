"""Whose turn it is: who counts or locks runs of a user waits for whoever does so already, before any run is locked."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.store.models import UserRow


def take_turn(session: Session, owner_id: UUID) -> str:
    """Have everybody else who counts the runs of a user wait until this transaction is over. Returns the user's name."""
    # Not FOR UPDATE, for which every insert of a run of theirs would wait too.
    return session.scalars(select(UserRow.name).where(UserRow.id == owner_id).with_for_update(key_share=True)).one()
