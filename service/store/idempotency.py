"""Answers kept by Idempotency-Key, so that a client may repeat a POST without submitting twice.

The row is written last, in the transaction of the work itself: either both are there or neither. A repetition that
comes while the first one is at work waits for it there, and then undoes its own.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Connection, Table, bindparam, delete, func, insert, literal, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.domain.errors import KeyReused
from service.store.db import database_now
from service.store.models import IdempotencyRow

KEPT = timedelta(days=7)

_KEPT_ANSWER = select(IdempotencyRow.body_sha256, IdempotencyRow.response).where(
    IdempotencyRow.user_id == bindparam("user_id"), IdempotencyRow.key == bindparam("key")
)

# The clock is the database's; a week later nobody asks for the second.
_KEEP = insert(cast("Table", IdempotencyRow.__table__)).values(created_at=func.now())


class KeyTaken(Exception):
    """Another request with the key was faster; the work of this one must be rolled back."""


def kept_answer(connection: Connection, user_id: UUID, key: str, body_sha256: str) -> dict[str, Any] | None:
    """The answer to the same request, if it was given before. Raises KeyReused where the key came with another body."""
    row = connection.execute(_KEPT_ANSWER, {"user_id": user_id, "key": key}).one_or_none()
    if row is None:
        return None
    if row.body_sha256 != body_sha256:
        raise KeyReused(
            f"The Idempotency-Key {key!r} came before with another request; use a new key for a new request."
        )
    answer: dict[str, Any] | None = row.response
    return answer


def keep(session: Session, user_id: UUID, key: str, body_sha256: str, answer: dict[str, Any]) -> None:
    """Write the answer that repetitions will get. Raises KeyTaken where one is there already."""
    row = {"user_id": user_id, "key": key, "body_sha256": body_sha256, "response": answer}
    try:
        session.connection().execute(_KEEP, row)
    except IntegrityError as error:
        raise KeyTaken(f"The Idempotency-Key {key!r} came at the same moment with another request.") from error


def forget_expired(session: Session) -> int:
    """Delete answers older than 7 days, and say how many that were. Reads the whole table: call it now and then."""
    expired = delete(IdempotencyRow).where(IdempotencyRow.created_at < database_now(session) - KEPT)
    return len(session.execute(expired.returning(literal(1))).all())
