"""Rows into a file as CSV, as a stream of Arrow, or as Parquet: typed columns, a batch in memory at a time."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import IO, Any, Literal
from uuid import UUID

from prolu.client.wire.querying import text_cell
from service.domain.filters import Column

Rows = Sequence[Sequence[Any]]
Format = Literal["csv", "arrow", "parquet"]

MEDIA_TYPES: dict[Format, str] = {
    "csv": "text/csv; charset=utf-8",
    "arrow": "application/vnd.apache.arrow.stream",
    "parquet": "application/vnd.apache.parquet",
}


def write(kind: Format, file: IO[bytes], columns: Sequence[Column], batches: Iterable[Rows]) -> None:
    """Write all rows to a file."""
    if kind == "csv":
        _write_csv(file, columns, batches)
    else:
        _write_arrow(kind, file, columns, batches)


def shown(value: Any) -> Any:
    """A value as JSON and CSV say it: times in RFC 3339."""
    match value:
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case UUID():
            return str(value)
    return value


def _write_csv(file: IO[bytes], columns: Sequence[Column], batches: Iterable[Rows]) -> None:
    """A header, then a line for each row (RFC 4180); nothing stands for null, and a formula is no formula (`text_cell`)."""
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    lines = csv.writer(text)
    lines.writerow([column.name for column in columns])
    cells = [_CELLS.get(column.kind, _as_it_is) for column in columns]
    for rows in batches:
        lines.writerows(
            [None if value is None else cell(value) for cell, value in zip(cells, row, strict=True)] for row in rows
        )
    text.flush()
    text.detach()


def _as_it_is(value: Any) -> Any:
    return value


_CELLS: dict[str, Callable[[Any], Any]] = {
    "text": text_cell,
    "time": shown,
    "identity": str,
    "boolean": lambda value: "true" if value else "false",
}


def _write_arrow(kind: Format, file: IO[bytes], columns: Sequence[Column], batches: Iterable[Rows]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {
        "text": pa.string(),
        "integer": pa.int64(),
        "number": pa.float64(),
        "boolean": pa.bool_(),
        "time": pa.timestamp("us", tz="UTC"),
        "identity": pa.string(),
    }
    schema = pa.schema([(column.name, types[column.kind]) for column in columns])
    opened = pa.ipc.new_stream(file, schema) if kind == "arrow" else pq.ParquetWriter(file, schema, compression="zstd")
    with opened as writer:
        for rows in batches:
            writer.write_batch(_batch(columns, rows, schema))


def _batch(columns: Sequence[Column], rows: Rows, schema: Any) -> Any:
    import pyarrow as pa

    arrays = []
    for column, field, values in zip(columns, schema, zip(*rows, strict=True), strict=True):
        plain = [None if value is None else str(value) for value in values] if column.kind == "identity" else values
        arrays.append(pa.array(plain, type=field.type))
    return pa.record_batch(arrays, schema=schema)
