"""`/v1/users`, for administrators, and `/v1/me`, for everybody."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response
from sqlalchemy.orm import Session

from prolu.client.wire import LimitsRead, MeRead, Page, UserCreate, UserPatch, UserRead
from service.api.context import Parts, User
from service.api.lists import Cursor, Limit, Name
from service.api.repetition import IdempotencyKey, once
from service.api.tags import IfMatch, require_match, tag_of
from service.store import audit, users

router = APIRouter(prefix="/v1", tags=["people"])

_DECIDED = {"name", "role", "weight", "max_queued", "disabled"}


@router.get("/me", operation_id="get_me")
def get_me(services: Parts, user: User) -> MeRead:
    """Whose token the request carries, what it is good for and until when, and what of their limits the user uses."""
    settings = services.settings
    with services.database.read() as session:
        queued, gpus = users.in_use(session, user.user_id)
    throttled = settings.max_requests_per_second is not None
    limits = LimitsRead(
        max_queued=user.max_queued or settings.max_queued_per_user,
        queued=queued,
        max_gpus=settings.max_gpus_per_user,
        gpus=gpus,
        max_requests_per_second=settings.max_requests_per_second,
        request_burst=settings.request_burst if throttled else None,
    )
    return MeRead(
        id=user.user_id,
        name=user.name,
        role=user.role,
        scope=user.scope,
        token_id=user.token_id,
        token_expires_at=user.token_expires_at,
        limits=limits,
    )


@router.get("/users", operation_id="list_users", responses={403: {}})
def list_users(
    services: Parts,
    _: User,
    name: Annotated[Name | None, Query(description="Only the user of this name.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[UserRead]:
    """Users, in the order in which they were made. For administrators."""
    with services.database.read() as session:
        return users.users(session, name=name, limit=limit, cursor=cursor)


@router.post("/users", status_code=201, operation_id="create_user", responses={403: {}, 409: {}, 413: {}, 415: {}})
def create_user(body: UserCreate, services: Parts, user: User, idempotency_key: IdempotencyKey = None) -> UserRead:
    """Make a user, who can do nothing before they have a token: `POST /v1/tokens`. For administrators."""

    def work(session: Session) -> UserRead:
        new_id = users.create(session, **body.model_dump())
        made = users.one(session, new_id)
        audit.record(session, user, "user", new_id, after=made.model_dump(include=_DECIDED))
        return made

    return once(services, user, idempotency_key, ("POST /v1/users", body), work=work, answer_type=UserRead)


@router.get("/users/{user_id}", operation_id="get_user", responses={403: {}, 404: {}})
def get_user(user_id: UUID, services: Parts, _: User, response: Response) -> UserRead:
    """One user; the ETag changes with their role, weight, limits and whether they are disabled. For administrators."""
    with services.database.read() as session:
        found = users.one(session, user_id)
    response.headers["ETag"] = tag_of(found)
    return found


@router.patch(
    "/users/{user_id}",
    operation_id="change_user",
    responses={403: {}, 404: {}, 409: {}, 412: {}, 413: {}, 415: {}},
)
def change_user(
    user_id: UUID, body: UserPatch, services: Parts, user: User, response: Response, if_match: IfMatch = None
) -> UserRead:
    """Change a user's role, weight or limits, or disable them; what the body leaves out stays. For administrators.

    The tokens of a disabled user count for nothing within a second, and again once they are not disabled. Their runs go on, and
    those that wait start in their turn, until somebody cancels them: `unfinished_runs` says how many there are. The last
    administrator can be neither disabled nor made less.
    """
    with services.database.begin() as session:
        row = users.locked(session, user_id)
        before = users.one(session, user_id)
        require_match(if_match, before)
        users.change(session, row, body.model_dump(exclude_unset=True))
        after = users.one(session, user_id)
        briefs = [seen.model_dump(include=_DECIDED) for seen in (before, after)]
        audit.record_change(session, user, "user", user_id, before=briefs[0], after=briefs[1])
    services.gate.forget()
    response.headers["ETag"] = tag_of(after)
    return after
