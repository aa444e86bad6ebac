"""Columns of Arrow have the very values that rows have, on both databases, whatever is written in them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest
from sqlalchemy import update

from service.domain.filters import Column, columns, parse, parse_order
from service.store import columnar, querying
from service.store.db import Database
from service.store.models import RunRow
from service.store.querying import Question
from service.store.stopping import Stop, Stopped
from service.store.users import ensure_user
from tests.service.store.operations import claim, say, submit
from tests.service.store.specs import snapshot

# What could be taken for nothing, for an escape, for the end of a field, a text, a row or a statement.
_TEXTS = [
    "",
    " a ",
    "NULL",
    "\\N",
    "a\\b\\",
    '"',
    '""',
    "a,b",
    "(0,0)",
    "a\nb",
    "\r\n",
    "\t",
    "'",
    "%(x)s",
    "\u65e5",
    "\U0001f600",
]
_NUMBERS = [0.0, 5e-324, 1.7976931348623157e308, 0.1 + 0.2, 1e22, 2.0**53 + 2]
_LATE = datetime(2026, 10, 25, 0, 59, 59, 999_993, tzinfo=UTC)
_SHOWN = [column for column in columns().values() if column.is_single]


@pytest.fixture
def filled(database: Database) -> Database:
    """A run with each of the texts, microseconds apart; some have numbers, one a snapshot of biases."""
    with database.begin() as session:
        owner = ensure_user(session, 'a, "b"')
    ids = [submit(database, owner) for _ in _TEXTS]
    claim(database, ids[0])
    say(database, ids[0], 1, snapshot(10))
    with database.begin() as session:
        for place, (run_id, text) in enumerate(zip(ids, _TEXTS, strict=True)):
            moment = _LATE + timedelta(microseconds=place)
            told: dict[str, Any] = {"name": text, "variant": text, "note": text, "created_at": moment}
            if place < len(_NUMBERS):
                told |= {"metrics": {"l0": _NUMBERS[place], "kl": 1}, "finished_at": moment, "point": place}
            session.execute(update(RunRow).where(RunRow.id == run_id).values(told))
    return database


def _question(order: str = "created_at") -> Question:
    return Question(parse(""), parse_order(order), order)


def _as_arrow(value: Any) -> Any:
    return str(value) if isinstance(value, UUID) else value


def _read(database: Database, shown: list[Column], **more: Any) -> pa.Table:
    asked = {"limit": None, "cursor": None, "stop": Stop()} | more
    return pa.Table.from_batches(
        columnar.record_batches(database, _question(), shown, **asked), columnar.schema_of(shown)
    )


@pytest.mark.parametrize("first", range(0, len(_SHOWN), 100))
def test_every_column_has_the_values_of_its_rows(filled: Database, first: int) -> None:
    shown = _SHOWN[first : first + 100]
    batches = querying.batches(filled, _question(), shown, limit=None, cursor=None, stop=Stop())
    rows = [tuple(map(_as_arrow, row)) for batch in batches for row in batch]
    table = _read(filled, shown)
    assert len(rows) == len(_TEXTS)
    assert [tuple(row.values()) for row in table.to_pylist()] == rows
    assert table.schema == columnar.schema_of(shown)


def test_a_spec_that_is_opened_once_has_what_each_of_its_paths_has_by_itself(filled: Database) -> None:
    shown = [column for column in _SHOWN if column.source == "spec"]
    together = _read(filled, shown)
    assert [_read(filled, [column]).column(0) for column in shown] == together.columns
    with filled.read() as session:
        ids = querying.pick(session, _question(), limit=3, cursor=None).ids
        rows = querying.rows_of(session, ids, shown)
    assert [tuple(row.values()) for row in together.slice(0, 3).to_pylist()] == rows


def test_texts_numbers_and_times_come_back_as_they_were_written(filled: Database) -> None:
    shown = [columns()[name] for name in ("name", "note", "metrics.l0", "created_at", "owner")]
    names, notes, numbers, moments, owners = (column.to_pylist() for column in _read(filled, shown).columns)
    assert names == notes == _TEXTS
    assert numbers[: len(_NUMBERS)] == _NUMBERS
    assert set(numbers[len(_NUMBERS) :]) == {None}
    assert moments == [_LATE + timedelta(microseconds=place) for place in range(len(_TEXTS))]
    assert set(owners) == {'a, "b"'}


def test_rows_come_in_batches_and_no_more_than_are_asked_for(filled: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columnar, "_BATCH_ROWS", 4)
    shown = [columns()["name"]]
    batches = columnar.record_batches(filled, _question(), shown, limit=10, cursor=None, stop=Stop())
    assert [batch.num_rows for batch in batches] == [4, 4, 2]


def test_batches_end_when_they_are_told_to(filled: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columnar, "_BATCH_ROWS", 4)
    stop = Stop()
    batches = columnar.record_batches(filled, _question(), [columns()["id"]], limit=None, cursor=None, stop=stop)
    next(batches)
    stop.now()
    with pytest.raises(Stopped):
        next(batches)
