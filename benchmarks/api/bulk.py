"""Rows into tables by the quickest way that each database has: COPY, or one prepared INSERT. Below the store, for benchmarks.

Rows of the long tables are written as they come, without a check of what they refer to: who writes them has just written that.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any
from uuid import UUID

_LINES_AT_ONCE = 2_000


class Bulk:
    """Writes within the transaction of a connection of SQLAlchemy."""

    def __init__(self, connection: Any) -> None:
        self.on_sqlite = connection.dialect.name == "sqlite"
        self._driver = connection.connection.driver_connection

    def write(self, table: str, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
        """Rows of Python values: ids, times, documents, numbers."""
        if self.on_sqlite:
            self._insert(table, columns, (tuple(map(_for_sqlite, row)) for row in rows))
            return
        with self._driver.cursor() as cursor, cursor.copy(_copy(table, columns)) as copy:
            for row in rows:
                copy.write_row(tuple(map(_for_postgresql, row)))

    def write_plain(
        self, table: str, columns: Sequence[str], rows: Iterable[tuple[Any, ...]], *, watched: bool
    ) -> None:
        """Rows of texts without tabs or backslashes (ids by `identity`, documents as JSON) and of numbers, by the million.

        Unless the table is `watched`, no trigger of PostgreSQL hears of them, not even those that guard foreign keys.
        """
        if self.on_sqlite:
            self._insert(table, columns, rows)
            return
        with self._driver.cursor() as cursor:
            if not watched:
                cursor.execute("SET LOCAL session_replication_role = replica")
            with cursor.copy(_copy(table, columns)) as copy:
                for lines in _batches("\t".join(map(str, row)) for row in rows):
                    copy.write("\n".join([*lines, ""]))
            cursor.execute("SET LOCAL session_replication_role = origin")

    def identity(self, value: UUID) -> str:
        """An id as the database writes it."""
        return value.hex if self.on_sqlite else str(value)

    def _insert(self, table: str, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
        places = ", ".join("?" for _ in columns)
        self._driver.executemany(f"INSERT INTO {table} ({_named(columns)}) VALUES ({places})", rows)  # noqa: S608 names of ours


def _copy(table: str, columns: Sequence[str]) -> str:
    return f"COPY {table} ({_named(columns)}) FROM STDIN"


def _named(columns: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in columns)


def _batches(lines: Iterable[str]) -> Iterator[list[str]]:
    waiting = iter(lines)
    while batch := list(islice(waiting, _LINES_AT_ONCE)):
        yield batch


def _for_sqlite(value: Any) -> Any:
    match value:
        case UUID():
            return value.hex
        case datetime():
            return value.strftime("%Y-%m-%d %H:%M:%S.%f")
        case dict() | list():
            return json.dumps(value)
    return value


def _for_postgresql(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict | list) else value
