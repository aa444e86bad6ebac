"""Answers kept by Idempotency-Key, so that a client may repeat a POST without submitting twice.

The row is written in the transaction of the work itself: either both are there or neither. A repetition that comes
while the first one is at work waits for it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from service.domain.errors import KeyReused
from service.store.db import database_now, insert_new
from service.store.models import IdempotencyRow

KEPT = timedelta(days=7)


def kept_answer(session: Session, user_id: UUID, key: str, body_sha256: str) -> dict[str, Any] | None:
    """The answer to the same request, if it was given before. Raises KeyReused where the key came with another body."""
    row = session.execute(
        select(IdempotencyRow.body_sha256, IdempotencyRow.response).where(
            IdempotencyRow.user_id == user_id, IdempotencyRow.key == key
        )
    ).one_or_none()
    if row is None:
        return None
    if row.body_sha256 != body_sha256:
        raise KeyReused(
            f"The Idempotency-Key {key!r} came before with another request; use a new key for a new request."
        )
    answer: dict[str, Any] | None = row.response
    return answer


def reserve(session: Session, user_id: UUID, key: str, body_sha256: str) -> bool:
    """Take the key for the work of this transaction. False where it has been taken: then there is a kept answer."""
    now = database_now(session)
    session.execute(
        delete(IdempotencyRow).where(IdempotencyRow.user_id == user_id, IdempotencyRow.created_at < now - KEPT)
    )
    row = {"user_id": user_id, "key": key, "body_sha256": body_sha256, "created_at": now}
    return insert_new(session, IdempotencyRow, row, key=["user_id", "key"])


def keep(session: Session, user_id: UUID, key: str, answer: dict[str, Any]) -> None:
    """Write the answer that repetitions will get."""
    session.execute(
        update(IdempotencyRow)
        .where(IdempotencyRow.user_id == user_id, IdempotencyRow.key == key)
        .values(response=answer)
    )
