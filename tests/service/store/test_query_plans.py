"""What the dispatcher asks twice a second is answered by indexes, however many runs are finished."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import event, text
from sqlalchemy.orm import Session

from service.domain.planning import Policy
from service.store import audit, lists, queue, reuse, situation
from service.store.db import Database

ASKED: dict[str, Callable[[Session], Any]] = {
    "the situation": lambda session: situation.read(session, Policy()),
    "the bell": situation.last_event,
    "live": queue.live,
    "reap": queue.reap,
    "settle": queue.settle,
    "what is finished elsewhere": lambda session: reuse.finished(session, ["a" * 64, "b" * 64]),
    "the live runs": lists.live_runs,
    "the newest runs": lambda session: lists.runs(session, limit=100, cursor=None),
    "the newest runs of an owner": lambda session: lists.runs(session, owner="ada", limit=100, cursor=None),
    "the newest runs of a sweep": lambda session: lists.runs(session, sweep_id=uuid4(), limit=100, cursor=None),
    "the newest runs of a state": lambda session: lists.runs(session, states=["failed"], limit=100, cursor=None),
}


MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
LOGGED: dict[str, dict[str, Any]] = {
    "by a user": {"by": UUID(int=7)},
    "by a user of a name": {"user": "ada"},
    "of an action": {"action": "create_token"},
    "of a run": {"target": str(UUID(int=7))},
    "since a moment": {"since": MOMENT},
    "between two moments": {"since": MOMENT, "until": MOMENT},
}

_WALKS = ("SCAN runs", "SCAN attempts", "SCAN events", "SCAN audit_entries")


def plans(sqlite_template: Path, ask: Callable[[Session], Any]) -> list[str]:
    """Run `ask` and give SQLite's plan of every query in it, without statistics."""
    database = Database(f"sqlite:///{sqlite_template}")
    asked: list[tuple[str, Any]] = []

    def remember(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        if any(f"FROM {table}" in statement for table in ("runs", "attempts", "events", "audit_entries")):
            asked.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", remember)
    with database.begin() as session:
        ask(session)
    event.remove(database.engine, "before_cursor_execute", remember)
    with database.read() as session:
        connection = session.connection()
        found = [
            row[3]
            for statement, parameters in asked
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]
    database.dispose()
    assert found
    return found


@pytest.mark.parametrize("name", list(ASKED))
def test_no_question_walks_through_all_runs(sqlite_template: Path, name: str) -> None:
    assert [step for step in plans(sqlite_template, ASKED[name]) if step in _WALKS] == []


@pytest.mark.parametrize("name", ["the newest runs", "the newest runs of an owner", "the newest runs of a sweep"])
def test_the_order_of_a_long_list_comes_from_an_index(sqlite_template: Path, name: str) -> None:
    assert "USE TEMP B-TREE FOR ORDER BY" not in plans(sqlite_template, ASKED[name])


@pytest.mark.parametrize("name", list(LOGGED))
def test_the_log_of_changes_is_asked_by_an_index_and_in_its_order(sqlite_template: Path, name: str) -> None:
    steps = plans(sqlite_template, lambda session: audit.entries(session, **LOGGED[name], limit=100, cursor=None))
    assert [step for step in steps if step in _WALKS or "TEMP B-TREE" in step] == []


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_postgresql_plans_each_question_for_what_it_asks(database: Database) -> None:
    """A plan for any value, which it makes after a while by itself, walks through all queued runs to find that none failed."""
    with database.read() as session:
        assert session.execute(text("SHOW plan_cache_mode")).scalar_one() == "force_custom_plan"
