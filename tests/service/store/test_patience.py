"""A PostgreSQL that is there and says nothing: a patient database gives it up, and finds it again."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from service.store.db import Database
from tests.postgres import PostgresServer

PATIENCE = 0.3


@pytest.fixture
def database(migrated_postgres: str) -> Iterator[Database]:
    opened = Database(migrated_postgres, patience_seconds=PATIENCE)
    yield opened
    opened.dispose()


def ask(database: Database, statement: str = "SELECT 17") -> int:
    with database.read() as session:
        return int(session.execute(text(statement)).scalar_one())


def test_a_server_that_hangs_is_given_up_and_serves_again_when_it_is_back(
    database: Database, postgres_server: PostgresServer
) -> None:
    assert ask(database) == 17
    with postgres_server.hanging():
        began = time.monotonic()
        with pytest.raises(OperationalError, match=r"has not answered for 0\.3 s"):
            ask(database)
        assert time.monotonic() - began < 5, "no timeout of TCP was waited for"
    assert ask(database) == 17


def test_a_server_that_hangs_is_given_up_by_the_question_whether_it_is_alive(
    database: Database, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.store.db._TRUSTED_SECONDS", 0.0)
    assert ask(database) == 17
    with postgres_server.hanging(), pytest.raises(OperationalError, match="timeout"):
        ask(database)  # the pool is given up, and a new connection is not answered either
    assert ask(database) == 17


def test_a_server_that_is_slow_ends_the_statement_itself_and_keeps_the_session(database: Database) -> None:
    session = ask(database, "SELECT pg_backend_pid()")
    with pytest.raises(OperationalError, match="statement timeout"):
        ask(database, "SELECT 1 FROM pg_sleep(10)")
    assert ask(database, "SELECT pg_backend_pid()") == session


def test_without_a_bound_a_statement_takes_as_long_as_it_takes(migrated_postgres: str) -> None:
    database = Database(migrated_postgres)
    with database.read() as session:
        assert session.execute(text("SHOW statement_timeout")).scalar_one() == "0"
    database.dispose()
