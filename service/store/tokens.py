"""Bearer tokens, of which the database holds only hashes: made, listed, revoked, and asked whose they are.

A token is 256 random bits, so an unsalted sha256 is enough: there is nothing to guess.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, Row, Select, bindparam, or_, select, type_coerce, update
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from prolu.client.wire import Page, Scope, TokenRead
from service.domain.access import Principal
from service.domain.errors import NotFound, Unauthenticated
from service.store import pages
from service.store.db import clock, database_now, insert_new
from service.store.models import TokenRow, UserRow
from service.store.models.base import Utc

_PREFIX = "prolu_"
_FORM = re.compile(_PREFIX + r"[A-Za-z0-9_-]{43}")


class Known(NamedTuple):
    """Whose a token is, as the database said at a moment of its own clock."""

    principal: Principal
    at: datetime
    last_used_at: datetime | None


class Issued(NamedTuple):
    """A new token: its id, and itself."""

    id: UUID
    token: str


# Made once: it is asked all the time, and to put a statement together takes longer than to execute it.
_USER_OF_TOKEN = (
    select(
        TokenRow.id.label("token_id"),
        TokenRow.name.label("token"),
        TokenRow.sha256,
        TokenRow.scope,
        TokenRow.expires_at,
        TokenRow.last_used_at,
        TokenRow.revoked_at,
        UserRow.id.label("user_id"),
        UserRow.name,
        UserRow.role,
        UserRow.max_queued,
        UserRow.disabled_at,
        type_coerce(clock(), Utc()).label("now"),
    )
    .join(UserRow, UserRow.id == TokenRow.user_id)
    .where(TokenRow.sha256 == bindparam("digest"))
)


def looks_like_a_token(text: str) -> bool:
    """Whether a text has the form of our tokens."""
    return _FORM.fullmatch(text) is not None


def authenticate(connection: Connection | Session, token: str) -> Known:
    """Say whose a token is. Raises Unauthenticated, which says why it counts for nothing."""
    digest = sha256_of(token)
    row = connection.execute(_USER_OF_TOKEN, {"digest": digest}).one_or_none()
    if row is None or not hmac.compare_digest(row.sha256, digest):
        raise Unauthenticated("The bearer token is unknown to this service; see that it is whole, and of this service.")
    if row.revoked_at is not None:
        raise Unauthenticated(
            f"The bearer token {row.token!r} was revoked at {_said(row.revoked_at)}; use another one."
        )
    if row.expires_at is not None and row.expires_at <= row.now:
        raise Unauthenticated(f"The bearer token {row.token!r} expired at {_said(row.expires_at)}; make a new one.")
    if row.disabled_at is not None:
        raise Unauthenticated(f"The user {row.name} is disabled since {_said(row.disabled_at)}; ask an administrator.")
    principal = Principal(
        row.user_id, row.name, row.role, row.scope, row.token_id, row.expires_at, max_queued=row.max_queued
    )
    return Known(principal, row.now, row.last_used_at)


def issue(session: Session, user_id: UUID, *, name: str, scope: Scope = "write", days: float | None = None) -> Issued:
    """Make a token that is good for so many `days`, or without end. Nobody sees it again."""
    token = new_token()
    token_id = register(session, user_id, token, name=name, scope=scope, days=days)
    if token_id is None:
        raise ValueError("Two tokens drawn at random are the same; the machine's source of chance is broken.")
    return Issued(token_id, token)


def register(
    session: Session, user_id: UUID, token: str, *, name: str, scope: Scope, days: float | None = None
) -> UUID | None:
    """Keep the hash of a token. Its id; None if it is known already."""
    now, token_id = database_now(session), uuid7()
    row = {
        "id": token_id,
        "user_id": user_id,
        "name": name,
        "sha256": sha256_of(token),
        "scope": scope,
        "created_at": now,
        "expires_at": None if days is None else now + timedelta(days=days),
    }
    return token_id if insert_new(session, TokenRow, row, key=["sha256"]) else None


def one(session: Session, token_id: UUID) -> tuple[TokenRead, UUID]:
    """A token, and the id of its user. Raises NotFound."""
    row = session.execute(_tokens().where(TokenRow.id == token_id)).one_or_none()
    if row is None:
        raise NotFound(f"There is no token {token_id}; GET /v1/tokens lists those that there are.")
    return _read(row), row.user_id


def tokens(
    session: Session, *, of: UUID | None = None, user: str | None = None, limit: int, cursor: str | None
) -> Page[TokenRead]:
    """Tokens, the newest first: all, of the user `of`, or of a user of that name."""
    statement = _tokens()
    if of is not None:
        statement = statement.where(TokenRow.user_id == of)
    if user is not None:
        statement = statement.where(UserRow.name == user)
    if cursor is not None:
        statement = statement.where(TokenRow.id < pages.decode(cursor, pages.BY_ID)[0])
    rows = session.execute(statement.order_by(TokenRow.id.desc()).limit(limit + 1)).all()
    return pages.page(rows, limit, _read, lambda row: (row.id,))


def revoke(session: Session, token_id: UUID) -> bool:
    """Have a token count for nothing from now on. Says whether it counted before."""
    ended = update(TokenRow).where(TokenRow.id == token_id, TokenRow.revoked_at.is_(None))
    return session.execute(ended.values(revoked_at=database_now(session)).returning(TokenRow.id)).first() is not None


def note_uses(session: Session, uses: Mapping[UUID, datetime]) -> None:
    """Keep when tokens were last used; another process may know of later uses."""
    for token_id, at in sorted(uses.items()):
        earlier = or_(TokenRow.last_used_at.is_(None), TokenRow.last_used_at < at)
        session.execute(update(TokenRow).where(TokenRow.id == token_id, earlier).values(last_used_at=at))


def new_token() -> str:
    """Draw a token at random."""
    return _PREFIX + secrets.token_urlsafe(32)


def sha256_of(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def _tokens() -> Select[Any]:
    return select(*TokenRow.__table__.columns, UserRow.name.label("user")).join(UserRow, UserRow.id == TokenRow.user_id)


def _read(row: Row[Any]) -> TokenRead:
    return TokenRead(**{name: row._mapping[name] for name in TokenRead.model_fields})


def _said(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
