"""Users and their bearer tokens, of which the database holds only hashes.

A token is 256 random bits, so an unsalted sha256 is enough: there is nothing to guess.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

from sqlalchemy import Connection, bindparam, select
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from service.settings import Settings
from service.store.db import Database, database_now, insert_new
from service.store.models import TokenRow, UserRow

ADMIN = "admin"
_PREFIX = "prolu_"
_TOKEN = re.compile(_PREFIX + r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True)
class Principal:
    """Who asks."""

    user_id: UUID
    name: str
    role: str

    @property
    def is_admin(self) -> bool:
        return self.role == "admin"


# Made once: it is asked for every request, and to put a statement together takes longer than to execute it.
_USER_OF_TOKEN = (
    select(TokenRow.sha256, UserRow.id, UserRow.name, UserRow.role)
    .join(UserRow, UserRow.id == TokenRow.user_id)
    .where(TokenRow.sha256 == bindparam("digest"), TokenRow.revoked_at.is_(None))
)


def authenticate(connection: Connection | Session, token: str) -> Principal | None:
    """Give the user of a token; None for one that is unknown or revoked."""
    digest = _sha256(token)
    row = connection.execute(_USER_OF_TOKEN, {"digest": digest}).one_or_none()
    if row is None or not hmac.compare_digest(row.sha256, digest):
        return None
    return Principal(row.id, row.name, row.role)


class Gate:
    """Who a token belongs to, asked of the database once a second at most: so long a revoked token may live on."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._known: dict[str, tuple[float, Principal]] = {}

    def known(self, token: str) -> Principal | None:
        """The user, if that was asked within the last second. Asks nothing."""
        asked_at, principal = self._known.get(_sha256(token), (float("-inf"), None))
        return principal if self._clock() - asked_at < _BELIEVED_SECONDS else None

    def ask(self, token: str) -> Principal | None:
        """The user by the database; None for a token that is unknown or revoked."""
        asked_at = self._clock()
        with self._database.look() as connection:
            principal = authenticate(connection, token)
        if principal is not None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[_sha256(token)] = asked_at, principal
        return principal


_BELIEVED_SECONDS = 1.0
_MOST_KNOWN = 10_000


def ensure_user(session: Session, name: str, *, role: str = "member") -> UUID:
    """Give the id of the user of that name, who is made if need be."""
    row = {"id": uuid7(), "name": name, "role": role, "created_at": database_now(session)}
    insert_new(session, UserRow, row, key=["name"])
    return session.scalars(select(UserRow.id).where(UserRow.name == name)).one()


def issue_token(session: Session, user_id: UUID, *, name: str) -> str:
    """Make a token. This is the only time that anybody sees it."""
    token = new_token()
    _register(session, user_id, token, name)
    return token


def ensure_local_token(session: Session, settings: Settings) -> None:
    """See to it that the token file holds a valid token of the administrator.

    The file is made whole, with mode 600, in a folder of mode 700; one that exists is kept, and its token registered
    if this database does not know it. Raises PermissionError or ValueError where the file cannot serve.
    """
    token = _read_or_make(settings.token_file)
    if authenticate(session, token) is None:
        admin = ensure_user(session, ADMIN, role="admin")
        _register(session, admin, token, "local")


def new_token() -> str:
    """Draw a token at random."""
    return _PREFIX + secrets.token_urlsafe(32)


def _register(session: Session, user_id: UUID, token: str, name: str) -> None:
    row = {
        "id": uuid7(),
        "user_id": user_id,
        "name": name,
        "sha256": _sha256(token),
        "created_at": database_now(session),
    }
    insert_new(session, TokenRow, row, key=["sha256"])


def _read_or_make(file: Path) -> str:
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not file.exists():
        draft = file.with_name(f".{file.name}.{uuid4().hex}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w") as out:
                out.write(new_token() + "\n")
            os.link(draft, file)
        except FileExistsError:
            pass  # another process was first; its token is as good
        finally:
            draft.unlink()
    file.chmod(0o600)
    token = file.read_text().strip()
    if not _TOKEN.fullmatch(token):
        raise ValueError(f"The token file {file} does not hold a token of prolu; remove it, and a new one is made.")
    return token


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
