"""The database of a service under chaos, which can go away and come back.

A database is `url`, and what can be done to it: `interruptions`, by name. PostgreSQL is stopped in order, crashes, and
ends its sessions. SQLite is a file and has no server to kill; another process takes its only write lock for a while.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from service.store import schema
from service.store.db import Database
from tests.postgres import PostgresServer, running_postgres

Kind = Literal["sqlite", "postgresql"]
KINDS: tuple[Kind, ...] = ("sqlite", "postgresql")

_SETTINGS = ("shared_buffers=64MB", "max_connections=100")  # durable, as by default: a crash must lose no commit
_END_SESSIONS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
"""

Undo = Callable[[], None]


@dataclass(frozen=True)
class Victim:
    """A migrated database of its own."""

    url: str
    interruptions: Mapping[str, Callable[[], Undo | None]]
    """What can be done to it; what must be undone a few seconds later is returned."""


@contextmanager
def database(kind: Kind, folder: Path) -> Iterator[Victim]:
    """Make a database for the time of a block; SQLite's file lies in `folder`."""
    if kind == "sqlite":
        file = folder / "prolu.db"
        yield Victim(_migrated(f"sqlite:///{file}"), {"lock the database": lambda: _lock(file)})
        return
    with running_postgres(_SETTINGS) as server:
        interruptions: dict[str, Callable[[], Undo | None]] = {
            "restart PostgreSQL": lambda: _stop(server, crash=False),
            "crash PostgreSQL": lambda: _stop(server, crash=True),
            "end the database's sessions": lambda: server.run(_END_SESSIONS),
        }
        yield Victim(_migrated(server.empty()), interruptions)


def _migrated(url: str) -> str:
    opened = Database(url)
    schema.upgrade(opened)
    opened.dispose()
    return url


def _stop(server: PostgresServer, *, crash: bool) -> Undo:
    server.stop(crash=crash)
    return server.start


def _lock(file: Path) -> Undo:
    connection = sqlite3.connect(file, isolation_level=None, timeout=30)
    connection.execute("BEGIN IMMEDIATE")

    def release() -> None:
        connection.execute("ROLLBACK")
        connection.close()

    return release
