"""What the headers of activation files say of them, so that a wrong set of shards is refused when it is submitted.

Reads a few kilobytes of each `.npy` or `.safetensors` file, and needs no array library. What cannot be read here (Parquet, broken
files) is left to the workers, who look at every file before they train.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_KEY = "activations"
_FLOATS = frozenset({"<f2", "<f4", "<f8", "F16", "BF16", "F32", "F64"})
_BIG_ENDIAN_FLOATS = frozenset({">f2", ">f4", ">f8"})
_NPY_MAGIC = b"\x93NUMPY"
# numpy reads no longer ones of files that it does not trust.
_MOST_NPY_BYTES = 10_000
_MOST_SAFETENSORS_BYTES = 2_000_000
# Of more files, the first ones by name.
_MOST_FILES = 2_048


@dataclass(frozen=True)
class Header:
    """What one file holds."""

    name: str
    """Its file name."""
    shape: tuple[int, ...]
    """As stored; activations are (rows, d_in)."""
    dtype: str
    """In the words of its format."""


def complaint(paths: Sequence[Path], *, eval_samples: int) -> str | None:
    """Say why these files cannot be one set of activations, in words that follow "data.path "; None if they may be one."""
    headers = [header for path in sorted(paths)[:_MOST_FILES] if (header := _read(path)) is not None]
    for header in headers:
        if header.dtype in _BIG_ENDIAN_FLOATS:
            return (
                f"holds {header.name} of type {header.dtype}, which is big-endian; it must be little-endian: "
                f"numpy.save(path, array.astype('<{header.dtype[1:]}')) writes it so."
            )
        if header.dtype not in _FLOATS:
            return f"holds {header.name} of type {header.dtype}; it must be float16, bfloat16, float32 or float64."
        if len(header.shape) != 2 or 0 in header.shape:
            return f"holds {header.name} with shape {header.shape}; it must be (rows, d_in) with at least one row."
    unlike = [header for header in headers if header.shape[1] != headers[0].shape[1]]
    if unlike:
        return (
            f"holds {headers[0].name} of width {headers[0].shape[1]} and {unlike[0].name} of width {unlike[0].shape[1]}; "
            "all shards must have one d_in."
        )
    rows = sum(header.shape[0] for header in headers)
    if len(headers) == len(paths) and rows <= eval_samples:
        return (
            f"holds {rows} rows, but data.eval_samples holds out {eval_samples}; lower data.eval_samples or add shards."
        )
    return None


def _read(path: Path) -> Header | None:
    readers = {".npy": _read_npy, ".safetensors": _read_safetensors}
    if path.suffix not in readers:
        return None
    try:
        with path.open("rb") as file:
            return readers[path.suffix](file, path.name)
    except (OSError, ValueError, SyntaxError, KeyError, TypeError, RecursionError, MemoryError):
        return None


def _read_npy(file: IO[bytes], name: str) -> Header | None:
    magic, version = file.read(6), file.read(2)
    length = int.from_bytes(file.read(2 if version[:1] == b"\x01" else 4), "little")
    if magic != _NPY_MAGIC or length > _MOST_NPY_BYTES:
        return None
    described = ast.literal_eval(file.read(length).decode("latin-1").strip())
    return Header(name, _shape(described["shape"]), str(described["descr"]))


def _read_safetensors(file: IO[bytes], name: str) -> Header | None:
    length = int.from_bytes(file.read(8), "little")
    if length > _MOST_SAFETENSORS_BYTES:
        return None
    entry = json.loads(file.read(length))[_KEY]
    return Header(name, _shape(entry["shape"]), str(entry["dtype"]))


def _shape(found: object) -> tuple[int, ...]:
    if not isinstance(found, tuple | list) or not all(isinstance(size, int) for size in found):
        raise ValueError(f"{found!r} is no shape")
    return tuple(found)
