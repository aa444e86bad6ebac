"""The token file: how the first administrator, on the machine of the service, gets in."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4

from sqlalchemy.orm import Session

from service.domain.errors import Unauthenticated
from service.settings import Settings
from service.store import audit, tokens
from service.store.tokens import looks_like_a_token, new_token
from service.store.users import ADMIN, ensure_user


def ensure_local_token(session: Session, settings: Settings) -> None:
    """See to it that the token file holds a token of the administrator, which does not end.

    The file is made whole, with mode 600, in a folder of mode 700; one that exists is kept, and its token registered
    if this database does not know it. One that was revoked, or whose user was disabled, stays so: remove the file for a new
    one. Raises PermissionError or ValueError where the file cannot serve.
    """
    token = _read_or_make(settings.token_file)
    try:
        tokens.authenticate(session, token)
    except Unauthenticated:
        admin = ensure_user(session, ADMIN, role="admin")
        token_id = tokens.register(session, admin, token, name="local", scope="admin")
        if token_id is not None:
            told = {"user": ADMIN, "name": "local", "scope": "admin"}
            audit.record_of_service(session, "create_token", "token", token_id, told)


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
    if not looks_like_a_token(token):
        raise ValueError(f"The token file {file} does not hold a token of prolu; remove it, and a new one is made.")
    return token
