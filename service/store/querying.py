"""Rows of runs as somebody asked for them: those that pass a filter, in an order, in the columns that were named.

A page reads the narrow table, and of the runs themselves only the rows that it shows. All rows at once come in batches, out of
a cursor of the server, so that memory does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, FromClause, Row, Select, select, true
from sqlalchemy.orm import Session

from service.domain.filters import Column, Condition, Key
from service.store import positions
from service.store.db import Database
from service.store.filtering import after, columns_of, holds, opened, ordered, source, value_of
from service.store.models import FINDINGS
from service.store.stopping import Stop

BATCH_ROWS = 5_000


@dataclass(frozen=True)
class Question:
    """Which runs, and in which order; `words` is how it was asked, which a cursor is bound to."""

    condition: Condition | None
    keys: tuple[Key, ...]
    words: str
    within: tuple[ColumnElement[bool], ...] = field(default=())
    """What else must hold of a row of `findings`."""

    def picked(self, *values: ColumnElement[Any], columns: Sequence[Column] = ()) -> Select[Any]:
        """`values` of the runs that pass, in order; `columns` are those that the values are of."""
        chosen = holds(self.condition) if self.condition is not None else true()
        read = source([*columns_of(self.condition, self.keys), *columns])
        return select(*values).select_from(read).where(chosen, *self.within).order_by(*ordered(self.keys))

    def beyond(self, cursor: str | None) -> ColumnElement[bool]:
        """What comes after the row that a cursor names. Raises InvalidCursor."""
        if cursor is None:
            return true()
        return after(self.keys, positions.decode(self.words, self.keys, cursor))


class Picked(NamedTuple):
    """The runs of a page, in order."""

    ids: list[UUID]
    next_cursor: str | None


def pick(session: Session, question: Question, *, limit: int, cursor: str | None) -> Picked:
    """Choose the runs of a page, which reads nothing but what the filter and the order ask for. Raises InvalidCursor."""
    marks = [value_of(key.column).label(f"key_{index}") for index, key in enumerate(question.keys)]
    statement = question.picked(*marks, FINDINGS.c.run_id).where(question.beyond(cursor)).limit(limit + 1)
    found = session.execute(statement).all()
    shown = found[:limit]
    more = len(found) > limit and shown
    return Picked([row.run_id for row in shown], positions.encode(question.words, shown[-1]) if more else None)


def rows_of(session: Session, run_ids: Sequence[UUID], columns: Sequence[Column]) -> list[tuple[Any, ...]]:
    """A row for each of the runs, in their order, with a value for each of `columns`."""
    on_sqlite = session.get_bind().dialect.name == "sqlite"
    values, spec = _read(columns, on_sqlite=on_sqlite)
    statement = select(FINDINGS.c.run_id, *_labelled(values)).select_from(source(columns))
    if spec is not None:
        statement = statement.join(spec, true())
    statement = statement.where(FINDINGS.c.run_id.in_(run_ids))
    by_id = {row[0]: tuple(row[1:]) for row in session.execute(statement)}
    return [by_id[run_id] for run_id in run_ids]


def batches(
    database: Database,
    question: Question,
    columns: Sequence[Column],
    *,
    limit: int | None,
    cursor: str | None,
    stop: Stop,
) -> Generator[Sequence[Row[Any]]]:
    """All rows, or the first `limit`, some thousands at a time, as of one moment. Raises InvalidCursor, Stopped."""
    statement = whole(database, question, columns, _labelled, limit=limit, cursor=cursor)
    return streamed(database, statement, rows=BATCH_ROWS, stop=stop)


def whole(
    database: Database,
    question: Question,
    columns: Sequence[Column],
    shown: Callable[[Sequence[ColumnElement[Any]]], Sequence[ColumnElement[Any]]],
    *,
    limit: int | None,
    cursor: str | None,
) -> Select[Any]:
    """What is `shown` of the values of `columns`, of all rows after a cursor, or of the first `limit`. Raises InvalidCursor."""
    values, spec = _read(columns, on_sqlite=database.is_sqlite)
    statement = question.picked(*shown(values), columns=columns)
    if spec is not None:
        statement = statement.join(spec, true())
    return statement.where(question.beyond(cursor)).limit(limit)


def streamed(database: Database, statement: Select[Any], *, rows: int, stop: Stop) -> Generator[Sequence[Row[Any]]]:
    """What a statement finds, so many rows at a time, as of one moment. Raises Stopped."""
    with (
        database.read() as session,
        stop.ends(session.connection()),
        closing(session.connection().execution_options(yield_per=rows).execute(statement)) as found,
    ):
        for some in found.partitions():
            yield some
            stop.check()


def _read(columns: Sequence[Column], *, on_sqlite: bool) -> tuple[list[ColumnElement[Any]], FromClause | None]:
    """The values of columns, and what must be joined to their source to read them."""
    spec = None if on_sqlite else opened(columns)
    return [value_of(one) if spec is None else value_of(one, spec=spec.c.spec) for one in columns], spec


def _labelled(values: Sequence[ColumnElement[Any]]) -> list[ColumnElement[Any]]:
    return [value.label(f"value_{index}") for index, value in enumerate(values)]
