"""A POST with an Idempotency-Key is done once, however often it arrives."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from typing import Annotated, TypeVar

from fastapi import Header
from pydantic import BaseModel
from sqlalchemy.orm import Session

from service.api.context import Services
from service.domain.access import Principal
from service.domain.errors import ServiceError
from service.store import idempotency

# One request in so many clears away the answers that are no longer kept.
_CLEARED_ONCE_IN = 1000

Answer = TypeVar("Answer", bound=BaseModel)

IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=200,
        pattern=r"^[\x21-\x7e]+$",
        description="Any text of your own, such as a UUID. A repetition with the same key and body gets the same answer "
        "and does nothing more; keys are kept for 7 days.",
        examples=["0d9e1c2a-5b7f-4c55-9d2e-2f1f0c3a7b11"],
    ),
]


def once(
    services: Services,
    principal: Principal,
    key: str | None,
    request: tuple[str, BaseModel | None],
    *,
    check: Callable[[], None] = lambda: None,
    work: Callable[[Session], Answer],
    answer_type: type[Answer],
) -> Answer:
    """Do `check` and then `work`, or give the answer that was given to the same request before.

    `request` is its method and path, and its body, if it has one. `check` may take its time: it runs outside any
    transaction. `work` is committed before this returns.
    """
    if key is None:
        check()
        with services.database.begin() as session:
            return work(session)
    path, body = request
    written = "" if body is None else body.model_dump_json()
    body_sha256 = hashlib.sha256(f"{path}\n{written}".encode()).hexdigest()

    def kept_answer() -> Answer | None:
        with services.database.look() as connection:
            kept = idempotency.kept_answer(connection, principal.user_id, key, body_sha256)
        return None if kept is None else answer_type.model_validate(kept)

    # Nearly every request is the first of its key: it is done as such, and what stands in its way tells whether it is not.
    try:
        check()
        with services.database.begin() as session:
            answer = work(session)
            idempotency.keep(session, principal.user_id, key, body_sha256, answer.model_dump(mode="json"))
    except (ServiceError, idempotency.KeyTaken):
        if (kept := kept_answer()) is None:
            raise
        return kept
    if secrets.randbelow(_CLEARED_ONCE_IN) == 0:
        with services.database.begin() as session:
            idempotency.forget_expired(session)
    return answer
