"""A POST with an Idempotency-Key is done once, however often it arrives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeVar

from fastapi import Header
from pydantic import BaseModel
from sqlalchemy.orm import Session

from prolu.spec import digest_of
from service.api.context import Services
from service.store import idempotency
from service.store.users import Principal

Answer = TypeVar("Answer", bound=BaseModel)

IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=200,
        pattern=r"^[\x21-\x7e]+$",
        description="Any text of your own, such as a UUID. A repetition with the same key and body gets the same answer "
        "and submits nothing; keys are kept for 7 days.",
        examples=["0d9e1c2a-5b7f-4c55-9d2e-2f1f0c3a7b11"],
    ),
]


def once(
    services: Services,
    principal: Principal,
    key: str | None,
    request: tuple[str, BaseModel],
    *,
    check: Callable[[], None],
    work: Callable[[Session], Answer],
    answer_type: type[Answer],
) -> Answer:
    """Do `check` and then `work`, or give the answer that was given to the same request before.

    `check` may take its time: it runs outside any transaction. `work` is committed before this returns.
    """
    if key is None:
        check()
        with services.database.begin() as session:
            return work(session)
    path, body = request
    body_sha256 = digest_of([path, body.model_dump(mode="json")])
    with services.database.read() as session:
        kept = idempotency.kept_answer(session, principal.user_id, key, body_sha256)
    if kept is not None:
        return answer_type.model_validate(kept)
    check()
    with services.database.begin() as session:
        if not idempotency.reserve(session, principal.user_id, key, body_sha256):
            return answer_type.model_validate(idempotency.kept_answer(session, principal.user_id, key, body_sha256))
        answer = work(session)
        idempotency.keep(session, principal.user_id, key, answer.model_dump(mode="json"))
        return answer
