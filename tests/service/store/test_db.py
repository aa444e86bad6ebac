"""Transactions that behave the same on both databases."""

from __future__ import annotations

import shutil
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from service.store import nodes, queue
from service.store.db import Database, database_now
from service.store.models import NodeRow, RunRow
from service.store.models.base import Utc
from tests.service.store.specs import run_spec


def test_a_block_that_raises_leaves_nothing(database: Database) -> None:
    def fail() -> None:
        with database.begin() as session:
            session.add(NodeRow(name="a", cpus=1, gpus=0, memory_gb=1))
            session.flush()
            raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        fail()
    with database.read() as session:
        assert nodes.nodes(session) == []


def test_writers_that_read_first_take_turns_and_lose_nothing(database: Database) -> None:
    with database.begin() as session:
        session.add(NodeRow(name="counter", cpus=0, gpus=0, memory_gb=1))

    def add() -> None:
        for _ in range(10):
            with database.begin() as session:
                row = session.get_one(NodeRow, "counter", with_for_update=True)
                row.cpus += 1

    threads = [threading.Thread(target=add) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as session:
        assert session.get_one(NodeRow, "counter").cpus == 60


def test_times_are_aware_and_utc_and_keep_their_microseconds(database: Database, owner_id: UUID) -> None:
    moment = datetime(2026, 5, 6, 7, 8, 9, 123456, tzinfo=timezone(timedelta(hours=2)))
    with database.begin() as session:
        run = queue.submit_run(session, owner_id=owner_id, spec=run_spec(), priority=1)
        session.get_one(RunRow, run.id).started_at = moment
    with database.read() as session:
        kept = session.get_one(RunRow, run.id).started_at
    assert kept == moment
    assert kept is not None
    assert kept.tzinfo is UTC


def test_a_time_without_a_zone_is_refused(database: Database) -> None:
    naive = datetime(2026, 1, 1)  # noqa: DTZ001
    with pytest.raises(ValueError, match="no time zone"):
        Utc().process_bind_param(naive, database.engine.dialect)


def test_the_databases_clock_moves_on_within_a_transaction(database: Database) -> None:
    with database.read() as session:
        first = database_now(session)
        assert first.tzinfo is UTC
        assert abs(first - datetime.now(UTC)) < timedelta(seconds=5)
        assert database_now(session) >= first


def test_foreign_keys_hold(database: Database) -> None:
    with pytest.raises(DBAPIError), database.begin() as session:
        session.execute(text("INSERT INTO events (run_id, at, kind, detail) VALUES (:id, :at, 'x', '{}')"), _event())


def test_on_postgresql_a_reading_transaction_cannot_write(migrated_postgres: str) -> None:
    database = Database(migrated_postgres)
    with pytest.raises(DBAPIError, match="read-only"), database.read() as session:
        session.execute(text("DELETE FROM nodes"))
    database.dispose()


def test_a_reader_sees_one_state_and_holds_up_no_writer(sqlite_template: Path, tmp_path: Path) -> None:
    database = Database(f"sqlite:///{shutil.copy(sqlite_template, tmp_path / 'prolu.db')}")
    with database.read() as reading:
        assert nodes.nodes(reading) == []
        with database.begin() as writing:
            writing.execute(text("INSERT INTO nodes (name, cpus, gpus, memory_gb) VALUES ('w', 1, 0, 1)"))
        assert nodes.nodes(reading) == []
    with database.read() as reading:
        assert [node.name for node in nodes.nodes(reading)] == ["w"]
    database.dispose()


@pytest.mark.parametrize(
    ("url", "words"), [("sqlite://", "names no file"), ("mysql://host/db", "works with sqlite and postgresql")]
)
def test_a_database_that_cannot_serve_is_refused_with_a_sentence(url: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Database(url)


def _event() -> dict[str, object]:
    return {"id": UUID(int=1).hex, "at": "2026-01-01 00:00:00"}
