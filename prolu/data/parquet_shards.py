"""Write the activations of a Parquet file as a plain `.npy` array, which can be memory-mapped, a few rows at a time.

The column `activations` holds lists of floats, all of one length d_in.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from prolu.data.places import DataError
from prolu.data.rows import not_finite
from prolu.data.shard_cache import Sink

_COLUMN = "activations"
# Decoded at once, and read at once of a column; a row group may be much larger.
_PIECE_BYTES = 8 * 2**20
# Rows decoded at once, whatever a footer says, and entries of its lists.
_MOST_ROWS = 1_048_576
_MOST_ENTRIES = 1_000_000
# The widest activation, as everywhere. A row group may unpack to so many bytes, or to so many times what the whole file has.
_WIDEST = 1_048_576
_ANY_BYTES = 64 * 2**20
_MOST_TO_ONE = 1_000


def convert(source: Path | io.IOBase, name: str, *, size: int, sink: Sink) -> None:
    """Write the array of the Parquet file `name` of `size` bytes, piece by piece, checking every value.

    Raises DataError that names the file, and the row where there is one, if it is not (rows, d_in) of finite floats.
    """
    try:
        with pq.ParquetFile(
            source, buffer_size=_PIECE_BYTES, pre_buffer=False, thrift_container_size_limit=_MOST_ENTRIES
        ) as file:
            _convert(file, name, size, sink)
    except OSError as error:
        if error.errno is not None:  # of the disk or the store; what is wrong with the file has none
            raise
        raise _unreadable(name, error) from None
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, UnicodeDecodeError, MemoryError) as error:
        raise _unreadable(name, error) from None


def _convert(file: Any, name: str, size: int, sink: Sink) -> None:
    dtype = _dtype(file.schema_arrow, name)
    rows = int(file.metadata.num_rows)
    _require_proportion(file.metadata, dtype, name, size)
    sink.require_room(_values_of(file.metadata) * dtype.itemsize, name)
    width, done = 0, 0
    for batch in file.iter_batches(
        batch_size=_rows_at_once(file.metadata, dtype), columns=[_COLUMN], use_threads=False
    ):
        values = _values(batch.column(0), name, first_row=done)
        if done == 0:
            width = values.shape[1]
            sink.write(_header(dtype, rows, width), read=0)
        if values.shape[1] != width:
            raise _ragged(name, done, values.shape[1], width)
        done += len(values)
        if done > rows:
            raise _unreadable(name, f"its footer says {rows} rows, and there are more")
        sink.write(values.tobytes(), read=size * done // rows)
    if done == 0 or width == 0:
        raise DataError(
            f"data.path holds {name} with shape {(done, width)}; it must be (rows, d_in) with at least one row."
        )


def _dtype(schema: Any, name: str) -> np.dtype[np.generic]:
    if _COLUMN not in schema.names:
        raise DataError(f"data.path holds {name} with the columns {sorted(schema.names)}; it must have {_COLUMN!r}.")
    kind = schema.field(_COLUMN).type
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not lists or not pa.types.is_floating(kind.value_type):
        raise DataError(
            f"data.path holds {name} with the column {_COLUMN!r} of type {kind}; it must be lists of float16, float32 or float64."
        )
    dtype: np.dtype[np.generic] = np.dtype(kind.value_type.to_pandas_dtype()).newbyteorder("<")
    return dtype


def _rows_at_once(metadata: Any, dtype: np.dtype[np.generic]) -> int:
    """Rows of which the values take about one piece, by the mean width that the footer tells."""
    rows, values = int(metadata.num_rows), _values_of(metadata)
    return max(1, min(_MOST_ROWS, _PIECE_BYTES * rows // (dtype.itemsize * max(1, values))))


def _require_proportion(metadata: Any, dtype: np.dtype[np.generic], name: str, size: int) -> None:
    """Raise DataError where the footer says that rows are wider than any, or that a row group is nothing but repetition.

    A row is decoded whole, and one that is repetition may be a row group's only one that is not empty.
    """
    for group in _groups(metadata):
        values = _values_in(group)
        width = -(-values // max(1, int(group.num_rows)))
        if width > _WIDEST:
            raise DataError(
                f"data.path holds {name}, whose rows have {width} values; d_in is {_WIDEST} at most. Write it as (rows, d_in)."
            )
        if (unpacked := values * dtype.itemsize) > max(_ANY_BYTES, _MOST_TO_ONE * size):
            raise DataError(
                f"data.path holds {name}, of which {size} bytes unpack to {unpacked} in one row group; "
                "write it again with fewer rows in each."
            )


def _values_of(metadata: Any) -> int:
    """Numbers in the column, by the footer."""
    return sum(_values_in(group) for group in _groups(metadata))


def _groups(metadata: Any) -> Iterator[Any]:
    return (metadata.row_group(number) for number in range(metadata.num_row_groups))


def _values_in(group: Any) -> int:
    columns = map(group.column, range(group.num_columns))
    return sum(int(column.num_values) for column in columns if column.path_in_schema.split(".")[0] == _COLUMN)


def _values(column: Any, name: str, *, first_row: int) -> NDArray[np.generic]:
    """Return the lists of a column as an array, shape (rows, d_in)."""
    if column.null_count:
        row = first_row + column.is_null().index(True).as_py()
        raise DataError(f"data.path holds {name}, whose row {row} is null; write the shards again without it.")
    lengths = pc.list_value_length(column)
    first = lengths[0].as_py()
    unlike = np.flatnonzero(lengths.to_numpy() != first)
    if unlike.size:
        raise _ragged(name, first_row + int(unlike[0]), lengths[int(unlike[0])].as_py(), first)
    flat = column.flatten()
    if flat.null_count:
        row = first_row + flat.is_null().index(True).as_py() // first
        raise DataError(f"data.path holds {name}, whose row {row} has a null in it; write the shards again without it.")
    values: NDArray[np.generic] = flat.to_numpy().reshape(len(column), first)
    with np.errstate(over="ignore"):  # what is beyond float32 becomes infinite, as it will when it is read
        finite = np.isfinite(values.astype(np.float32, copy=False)).all(axis=1)
    if not finite.all():
        bad = int(np.flatnonzero(~finite)[0])
        raise not_finite(values[bad], first_row + bad, name)
    return values


def _unreadable(name: str, why: object) -> DataError:
    return DataError(f"data.path holds {name}, which is not readable Parquet ({why}); write it again.")


def _ragged(name: str, row: int, got: int, width: int) -> DataError:
    return DataError(
        f"data.path holds {name}, whose row {row} has {got} values and others {width}; all rows must have one d_in."
    )


def _header(dtype: np.dtype[np.generic], rows: int, width: int) -> bytes:
    header = io.BytesIO()
    described = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (rows, width)}
    np.lib.format.write_array_header_2_0(header, described)
    return header.getvalue()
