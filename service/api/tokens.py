"""`/v1/tokens`: one's own, and for administrators everybody's."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from sqlalchemy.orm import Session

from prolu.client.wire import Page, TokenCreate, TokenCreated, TokenRead
from prolu.spec import Mistake
from service.api.context import Parts, User
from service.api.lists import Cursor, Limit, Name
from service.api.problems import invalid
from service.api.repetition import IdempotencyKey, once
from service.domain.access import Owned, Principal, is_wider, require, require_change, widest
from service.domain.errors import Conflict, InsufficientScope
from service.settings import Settings
from service.store import audit, tokens, users
from service.store.tokens import Issued

router = APIRouter(prefix="/v1/tokens", tags=["people"])


@router.get("", operation_id="list_tokens", responses={403: {}})
def list_tokens(
    services: Parts,
    user: User,
    of: Annotated[Name | None, Query(alias="user", description="Only those of this user.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[TokenRead]:
    """Tokens, the newest first, with their last use: one's own, and for administrators everybody's. Never what is secret."""
    if of is not None and of != user.name:
        require(user, "admin")
    with services.database.read() as session:
        owner_id = None if user.is_admin else user.user_id
        return tokens.tokens(session, of=owner_id, user=of, limit=limit, cursor=cursor)


@router.post("", status_code=201, operation_id="create_token", responses={403: {}, 404: {}, 409: {}, 413: {}, 415: {}})
def create_token(
    body: TokenCreate, services: Parts, user: User, idempotency_key: IdempotencyKey = None
) -> TokenCreated:
    """Make a token. The answer alone shows it: the service keeps a hash, so that a repetition cannot be answered again."""
    days = _days(body, services.settings)
    issued: list[Issued] = []

    def work(session: Session) -> TokenRead:
        owner_id = _owner_of_new(session, user, body)
        issued.append(tokens.issue(session, owner_id, name=body.name, scope=body.scope, days=days))
        made, _ = tokens.one(session, issued[-1].id)
        told = made.model_dump(mode="json", include={"user", "name", "scope", "expires_at"})
        audit.record(session, user, "token", made.id, after=told)
        return made

    made = once(services, user, idempotency_key, ("POST /v1/tokens", body), work=work, answer_type=TokenRead)
    if not issued or issued[-1].id != made.id:
        raise Conflict(
            f"The first request with this Idempotency-Key made the token {made.name!r} ({made.id}), and only its answer showed "
            "it; revoke that token, and make another one."
        )
    return TokenCreated(**made.model_dump(), token=issued[-1].token)


@router.post("/{token_id}:revoke", operation_id="revoke_token", responses={403: {}, 404: {}})
def revoke_token(token_id: UUID, services: Parts, user: User, idempotency_key: IdempotencyKey = None) -> TokenRead:
    """Have a token of one's own count for nothing, within a second; for administrators anybody's. For good."""

    def work(session: Session) -> TokenRead:
        found, owner_id = tokens.one(session, token_id)
        require_change(user, Owned(f"Token {token_id}", owner_id), "revoke")
        if tokens.revoke(session, token_id):
            told = {"user": found.user, "name": found.name, "revoked": True}
            audit.record(session, user, "token", token_id, before={"revoked": False}, after=told)
        return tokens.one(session, token_id)[0]

    request = (f"POST /v1/tokens/{token_id}:revoke", None)
    revoked = once(services, user, idempotency_key, request, work=work, answer_type=TokenRead)
    services.gate.forget()
    return revoked


def _days(body: TokenCreate, settings: Settings) -> float:
    """How long the token is good. Raises Invalid for longer than the operator allows."""
    most = settings.max_token_days
    if body.expires_in_days is None:
        return min(settings.token_days, most)
    if body.expires_in_days > most:
        sentence = f"expires_in_days must be at most {most:g} (PROLU_MAX_TOKEN_DAYS); got {body.expires_in_days:g}."
        raise invalid([Mistake(("expires_in_days",), sentence)])
    return body.expires_in_days


def _owner_of_new(session: Session, user: Principal, body: TokenCreate) -> UUID:
    """Whose the token shall be. Raises Forbidden for somebody else's and for a wider scope than one's own, NotFound, Invalid."""
    if is_wider(body.scope, user.scope):
        raise InsufficientScope(
            f"A token of the scope {body.scope} is made with one that has it, and this one has {user.scope}; send another token, "
            "or make one of a lesser scope.",
            body.scope,
        )
    role, owner_id = user.role, user.user_id
    if body.user is not None and body.user != user.name:
        require(user, "admin")
        role, owner_id = users.named(session, body.user)
    if is_wider(body.scope, widest(role)):
        whose = body.user or user.name
        sentence = f"scope must be at most {widest(role)}, since {whose} is a {role}; got '{body.scope}'."
        raise invalid([Mistake(("scope",), sentence)])
    return owner_id
