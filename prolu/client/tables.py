"""The answer to a question about any runs: a table with typed columns, each named by its path."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, overload

from prolu.client.columns import coloured, percent, safe, shown
from prolu.client.records import Records, require
from prolu.client.wire import ResultColumn

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.table import Table

Row = dict[str, Any]

_SHORT = 8


class ResultTable(Records, Sequence[Row]):
    """Rows by path, in the order that was asked for; `columns` says what their values are.

    Times are datetimes in UTC; whatever a run lacks is None.
    """

    def __init__(self, columns: Sequence[ResultColumn], rows: Sequence[Row]) -> None:
        self.columns = tuple(columns)
        self._rows = list(rows)

    @classmethod
    def read(cls, columns: Sequence[ResultColumn], items: Sequence[Row]) -> ResultTable:
        """From what the service says, where times are texts."""
        times = [column.name for column in columns if column.kind == "time"]
        moments = [
            {name: datetime.fromisoformat(item[name]) for name in times if item[name] is not None} for item in items
        ]
        return cls(columns, [{**item, **moment} for item, moment in zip(items, moments, strict=True)])

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> ResultTable: ...
    def __getitem__(self, index: int | slice) -> Row | ResultTable:
        return ResultTable(self.columns, self._rows[index]) if isinstance(index, slice) else self._rows[index]

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    def records(self) -> list[Row]:
        """The rows as plain data, times as texts (RFC 3339)."""
        return [{name: _plain(value) for name, value in row.items()} for row in self._rows]

    def to_arrow(self) -> pa.Table:
        """An Arrow table whose columns have their types even where no run has a value. Raises MissingPackage."""
        pa = require("pyarrow", "Arrow and Parquet")
        types = {
            "text": pa.string(),
            "integer": pa.int64(),
            "number": pa.float64(),
            "boolean": pa.bool_(),
            "time": pa.timestamp("us", tz="UTC"),
            "identity": pa.string(),
        }
        schema = pa.schema([(column.name, types[column.kind]) for column in self.columns])
        return pa.Table.from_pylist(self._rows, schema=schema)

    def table(self, title: str | None = None) -> Table:
        """A rich table of the columns in which some row has a value; of ids the last digits, as everywhere."""
        from rich.table import Table

        made = Table(title=title, title_justify="left", header_style="bold")
        columns = [column for column in self.columns if any(row[column.name] is not None for row in self._rows)]
        for column in columns or self.columns:
            right = column.kind in ("number", "integer")
            made.add_column(safe(column.name), justify="right" if right else "left")
        for row in self._rows:
            made.add_row(*(_cell(column, row[column.name]) for column in columns))
        return made


def _plain(value: Any) -> Any:
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value


def _cell(column: ResultColumn, value: Any) -> str:
    if value is None:
        return "-"
    if column.name == "state":
        return coloured(value)
    if column.kind == "identity":
        return safe(str(value)[-_SHORT:])
    if column.kind == "time":
        return f"{value:%Y-%m-%d %H:%M}"
    if column.kind == "boolean":
        return json.dumps(value)
    return percent(value) if column.name.startswith("bias.fraction_") else safe(shown(value))
