"""Who knocks: asked of the database once a second at most for each token, and when a token was last used."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from uuid import UUID

import structlog
from sqlalchemy.exc import SQLAlchemyError

from service.domain.access import Principal
from service.store.db import Database
from service.store.tokens import authenticate, note_uses, sha256_of

log = structlog.get_logger(__name__)

_BELIEVED_SECONDS = 1.0
_MOST_KNOWN = 10_000
_NOTED_EVERY_SECONDS = 60.0


class Gate:
    """Believes what the database said of a token for a second: so long a revoked one may live on elsewhere.

    One that ends within that second is believed no longer than that.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._known: dict[str, tuple[float, Principal]] = {}
        self._uses: dict[UUID, datetime] = {}
        self._lock = threading.Lock()

    def known(self, token: str) -> Principal | None:
        """The user, if that was asked within the last second. Asks nothing."""
        until, principal = self._known.get(sha256_of(token), (float("-inf"), None))
        return principal if self._clock() < until else None

    def ask(self, token: str) -> Principal:
        """The user by the database. Raises Unauthenticated, which says why the token counts for nothing."""
        asked_at = self._clock()
        with self._database.look() as connection:
            found = authenticate(connection, token)
        believed, ends = _BELIEVED_SECONDS, found.principal.token_expires_at
        if ends is not None:
            believed = min(believed, (ends - found.at).total_seconds())
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[sha256_of(token)] = asked_at + believed, found.principal
        with self._lock:
            self._uses[found.principal.token_id] = found.at
        return found.principal

    def forget(self) -> None:
        """Believe nothing any more: who changes a user or a token is not to meet what was."""
        self._known.clear()

    def note_uses(self) -> None:
        """Keep in the database when tokens were last used, as far as it does not know yet."""
        with self._lock:
            uses, self._uses = self._uses, {}
        if not uses:
            return
        try:
            with self._database.begin() as session:
                note_uses(session, uses)
        except SQLAlchemyError as error:
            log.warning("uses_not_noted", error=type(error).__name__)
            with self._lock:
                self._uses = uses | self._uses

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Note uses once a minute within the block. Those of its last minute are lost, so that nobody waits at its end."""
        over = threading.Event()

        def note() -> None:
            while not over.wait(_NOTED_EVERY_SECONDS):
                self.note_uses()

        thread = threading.Thread(target=note, name="note-uses", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(_BELIEVED_SECONDS)
