"""All rows that somebody asked for as batches of Arrow, with as few Python objects on the way as each database allows.

100,000 rows of 38 columns are four million values. PostgreSQL writes each row as one text, which Arrow's own parser of CSV reads
into columns: to make a Python object of each value would take several times as long as to find them. SQLite makes its objects
in our process anyway; what SQLAlchemy would make of ids, times and truths is left to Arrow, a column at a time.
"""

from __future__ import annotations

import io
from collections.abc import Generator, Sequence
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, ColumnElement, Row, Text, func, literal_column, type_coerce
from sqlalchemy import cast as sql_cast
from sqlalchemy.types import NullType

from service.domain.filters import Column
from service.store.db import Database
from service.store.querying import Question, streamed, whole
from service.store.stopping import Stop

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_ROWS = 5_000
_MICROSECONDS = 1_000_000


def schema_of(columns: Sequence[Column]) -> pa.Schema:
    """The columns with the types that they have in a file."""
    import pyarrow as pa

    types = {
        "text": pa.string(),
        "integer": pa.int64(),
        "number": pa.float64(),
        "boolean": pa.bool_(),
        "time": pa.timestamp("us", tz="UTC"),
        "identity": pa.string(),
    }
    return pa.schema([(column.name, types[column.kind]) for column in columns])


def record_batches(
    database: Database,
    question: Question,
    columns: Sequence[Column],
    *,
    limit: int | None,
    cursor: str | None,
    stop: Stop,
) -> Generator[pa.RecordBatch]:
    """All rows, or the first `limit`, some thousands at a time, as of one moment. Raises InvalidCursor, Stopped."""
    shown = _as_stored if database.is_sqlite else partial(_as_text, columns)
    statement = whole(database, question, columns, shown, limit=limit, cursor=cursor)
    schema = schema_of(columns)
    with closing(streamed(database, statement, rows=_BATCH_ROWS, stop=stop)) as found:
        for rows in found:
            yield _from_stored(rows, columns, schema) if database.is_sqlite else _from_text(rows, schema)


def _as_stored(values: Sequence[ColumnElement[Any]]) -> list[ColumnElement[Any]]:
    """The values as SQLite has them: ids as 32 digits, times as texts in UTC, truths as 0 and 1."""
    return [type_coerce(value, NullType()).label(f"value_{place}") for place, value in enumerate(values)]


def _from_stored(rows: Sequence[Row[Any]], columns: Sequence[Column], schema: pa.Schema) -> pa.RecordBatch:
    import pyarrow as pa

    found = zip(columns, schema.types, zip(*rows, strict=True), strict=True)
    return pa.record_batch([_array(column, kind, values) for column, kind, values in found], schema=schema)


def _array(column: Column, kind: pa.DataType, values: Sequence[Any]) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    match column.kind:
        case "identity":
            digits = pa.array(values, pa.string())
            parts = [pc.utf8_slice_codeunits(digits, *ends) for ends in ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32))]
            return pc.binary_join_element_wise(*parts, "-")
        case "time":
            return pa.array(values, pa.string()).cast(pa.timestamp("us")).cast(kind)
        case "boolean":
            return pa.array(values, pa.int64()).cast(kind)
    return pa.array(values, kind)


def _as_text(columns: Sequence[Column], values: Sequence[ColumnElement[Any]]) -> list[ColumnElement[Any]]:
    """The row as PostgreSQL writes one, `(0,4.5,"a name",,0)`: CSV between parentheses, which two zeros hold."""
    zero: ColumnElement[int] = literal_column("0")
    plain = [_microseconds(value) if one.kind == "time" else value for one, value in zip(columns, values, strict=True)]
    return [sql_cast(func.row(zero, *plain, zero), Text()).label("line")]


def _microseconds(moment: ColumnElement[Any]) -> ColumnElement[int]:
    """Since 1970, since how times are written is up to whoever set the server up."""
    return sql_cast(func.date_part("epoch", moment) * _MICROSECONDS, BigInteger())


def _from_text(rows: Sequence[Row[Any]], schema: pa.Schema) -> pa.RecordBatch:
    import pyarrow as pa
    from pyarrow import csv

    names = [str(place) for place in range(len(schema) + 2)]
    shown = names[1:-1]
    written = [pa.int64() if pa.types.is_timestamp(kind) else kind for kind in schema.types]
    table = csv.read_csv(
        io.BytesIO("\n".join([row[0] for row in rows]).encode()),
        csv.ReadOptions(use_threads=False, column_names=names),
        # A quote or a backslash within a text is written twice.
        csv.ParseOptions(double_quote=True, escape_char="\\", newlines_in_values=True),
        csv.ConvertOptions(
            column_types=dict(zip(shown, written, strict=True)),
            include_columns=shown,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            true_values=["t"],
            false_values=["f"],
        ),
    )
    (batch,) = table.combine_chunks().to_batches()
    return pa.record_batch(
        [one.cast(kind) for one, kind in zip(batch.columns, schema.types, strict=True)], schema=schema
    )
