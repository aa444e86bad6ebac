"""The two databases of the benchmarks, both durable: a PostgreSQL with its defaults for safety, and files of SQLite."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from uuid import uuid4

from service.store import schema
from service.store.db import Database
from tests.postgres import PostgresServer, running_postgres

Kind = Literal["sqlite", "postgresql"]
KINDS: tuple[Kind, ...] = ("sqlite", "postgresql")

# fsync, full_page_writes and synchronous_commit stay on, as they are by default.
SETTINGS = ("shared_buffers=256MB", "max_connections=200", "max_wal_size=4GB", "checkpoint_timeout=30min")


@dataclass(frozen=True)
class Databases:
    """Makes databases below one folder and in one server."""

    folder: Path
    server: PostgresServer

    def empty(self, kind: Kind) -> str:
        """URL of a database without a table."""
        return self.server.empty() if kind == "postgresql" else f"sqlite:///{self.folder / uuid4().hex}.db"

    @contextmanager
    def migrated(self, kind: Kind) -> Iterator[Database]:
        """A database with our tables, without rows."""
        database = Database(self.empty(kind))
        try:
            schema.upgrade(database)
            yield database
        finally:
            database.dispose()


@contextmanager
def databases() -> Iterator[Databases]:
    """Run the server; everything is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="prolu-bench-") as folder, running_postgres(SETTINGS) as server:
        yield Databases(Path(folder), server)


def url_of(database: Database) -> str:
    """The database's URL, password included."""
    return database.engine.url.render_as_string(hide_password=False)
