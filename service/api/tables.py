"""Rows into a file as CSV, and columns as a stream of Arrow or as Parquet: a batch in memory at a time."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any, Literal
from uuid import UUID

from prolu.client.wire.querying import text_cell
from service.domain.filters import Column
from service.store.columnar import schema_of

if TYPE_CHECKING:
    import pyarrow as pa

Rows = Sequence[Sequence[Any]]
Format = Literal["csv", "arrow", "parquet"]

MEDIA_TYPES: dict[Format, str] = {
    "csv": "text/csv; charset=utf-8",
    "arrow": "application/vnd.apache.arrow.stream",
    "parquet": "application/vnd.apache.parquet",
}


def write_csv(file: IO[bytes], columns: Sequence[Column], batches: Iterable[Rows]) -> None:
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


def write_arrow(
    kind: Literal["arrow", "parquet"], file: IO[bytes], columns: Sequence[Column], batches: Iterable[pa.RecordBatch]
) -> None:
    """All batches, which have the types of `schema_of`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = schema_of(columns)
    if kind == "arrow":
        opened = pa.ipc.new_stream(file, schema)
    else:
        # What was measured has few equal values: to look for them costs more than to write them.
        repeated = [column.name for column in columns if column.source not in ("metrics", "bias")]
        opened = pq.ParquetWriter(file, schema, compression="zstd", use_dictionary=repeated)
    with opened as writer:
        for batch in batches:
            writer.write_batch(batch)


def shown(value: Any) -> Any:
    """A value as JSON and CSV say it: times in RFC 3339."""
    match value:
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case UUID():
            return str(value)
    return value


def _as_it_is(value: Any) -> Any:
    return value


_CELLS: dict[str, Callable[[Any], Any]] = {
    "text": text_cell,
    "time": shown,
    "identity": str,
    "boolean": lambda value: "true" if value else "false",
}
