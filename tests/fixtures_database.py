"""Databases for tests: every test that asks for `database` runs on SQLite and on a real PostgreSQL.

PostgreSQL (see `tests.postgres`) runs once per session. Each test gets a fresh file of SQLite, or the one database of
PostgreSQL with its tables emptied.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from service.store import schema
from service.store.db import Database
from service.store.models import Base
from service.store.users import ensure_user
from tests.postgres import PostgresServer, running_postgres

_FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=200", "shared_buffers=64MB")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """PostgreSQL for the whole session."""
    with running_postgres(_FAST) as server:
        yield server


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server: PostgresServer) -> str:
    """URL of the migrated database that tests use one after another."""
    url = postgres_server.empty()
    database = Database(url)
    schema.upgrade(database)
    database.dispose()
    return url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file that others are copied from."""
    file = tmp_path_factory.mktemp("template") / "prolu.db"
    database = Database(f"sqlite:///{file}")
    schema.upgrade(database)
    database.dispose()
    return file


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a migrated database without rows."""
    return _url_of_an_empty(request, tmp_path)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shared_database_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """URL of a database that all tests of a file share, none of which may ask for `database_url`; without rows at first."""
    return _url_of_an_empty(request, tmp_path_factory.mktemp("shared"))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A migrated database without rows."""
    opened = Database(database_url)
    yield opened
    opened.dispose()


@pytest.fixture
def owner_id(database: Database) -> UUID:
    """A user, for tests that submit below the API."""
    with database.begin() as session:
        return ensure_user(session, "ada")


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database without any table."""
    if request.param == "sqlite":
        opened = Database(f"sqlite:///{tmp_path / 'empty.db'}")
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        opened = Database(server.empty())
    yield opened
    opened.dispose()


def _url_of_an_empty(request: pytest.FixtureRequest, folder: Path) -> str:
    if request.param == "sqlite":
        file = folder / "prolu.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), file)
        return f"sqlite:///{file}"
    url: str = request.getfixturevalue("migrated_postgres")
    _empty_tables(url)  # twenty times quicker than a copy of a template
    return url


def _empty_tables(url: str) -> None:
    """Delete every row, after ending sessions that an earlier test may have left behind."""
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        names = [sql.Identifier(table.name) for table in reversed(Base.metadata.sorted_tables)]
        # In one go, since two dozen answers take longer than what they answer.
        connection.execute(sql.SQL("; ").join(sql.SQL("DELETE FROM {}").format(name) for name in names))
