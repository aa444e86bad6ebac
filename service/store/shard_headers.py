"""What the headers of activation files say of them, so that a wrong set of shards is refused when it is submitted.

Reads a few kilobytes of each `.npy` or `.safetensors` file, and needs no array library. What cannot be read here (Parquet, broken
headers) is left to the workers, who look at every file before they train.
"""

from __future__ import annotations

import ast
import json
import math
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
_KEYS_NAMED = 5


@dataclass(frozen=True)
class Header:
    """What one file holds."""

    name: str
    """Its file name."""
    shape: tuple[int, ...]
    """As stored; activations are (rows, d_in)."""
    dtype: str
    """In the words of its format."""


class _Unfit(Exception):
    """A file cannot hold activations, in words that follow "holds "."""


def complaint(paths: Sequence[Path], *, eval_samples: int) -> str | None:
    """Say why these files cannot be one set of activations, in words that follow "data.path "; None if they may be one."""
    looked_at = sorted(paths)[:_MOST_FILES]
    try:
        headers = [header for path in looked_at if (header := _read(path)) is not None]
    except _Unfit as unfit:
        return f"holds {unfit}"
    for header in headers:
        if header.dtype in _BIG_ENDIAN_FLOATS:
            return (
                f"holds {header.name} of type {header.dtype}, which is big-endian; it must be little-endian: "
                f"numpy.save(path, array.astype('<{header.dtype[1:]}')) writes it so."
            )
        if header.dtype not in _FLOATS:
            return f"holds {header.name} of type {header.dtype}; it must be float16, bfloat16, float32 or float64."
        if len(header.shape) != 2 or min(header.shape) < 1:
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
    try:
        size = path.stat().st_size
        if size == 0:
            raise _Unfit(f"{path.name}, which is empty; write it again or remove it.")
        if path.suffix not in readers:
            return None
        with path.open("rb") as file:
            return readers[path.suffix](file, path.name, size)
    except (OSError, ValueError, SyntaxError, KeyError, TypeError, AttributeError, RecursionError, MemoryError):
        return None


def _read_npy(file: IO[bytes], name: str, size: int) -> Header | None:
    magic, version = file.read(6), file.read(2)
    length = int.from_bytes(file.read(2 if version[:1] == b"\x01" else 4), "little")
    if magic != _NPY_MAGIC or length > _MOST_NPY_BYTES:
        return None
    _require_whole(name, file.tell() + length, size)
    described = ast.literal_eval(file.read(length).decode("latin-1").strip())
    shape, dtype = _shape(described["shape"]), str(described["descr"])
    if dtype in _FLOATS | _BIG_ENDIAN_FLOATS:
        _require_whole(name, file.tell() + int(dtype[2:]) * math.prod(shape), size)
    return Header(name, shape, dtype)


def _read_safetensors(file: IO[bytes], name: str, size: int) -> Header | None:
    length = int.from_bytes(file.read(8), "little")
    _require_whole(name, 8 + length, size)
    if length > _MOST_SAFETENSORS_BYTES:
        return None
    tensors = {key: entry for key, entry in json.loads(file.read(length)).items() if key != "__metadata__"}
    if _KEY not in tensors:
        shown = [key[:80] for key in sorted(tensors)[:_KEYS_NAMED]]
        more = f" and {len(tensors) - _KEYS_NAMED} more" if len(tensors) > _KEYS_NAMED else ""
        raise _Unfit(f"{name} with the keys {shown}{more}; it must have the key {_KEY!r}.")
    _require_whole(name, 8 + length + max(int(entry["data_offsets"][1]) for entry in tensors.values()), size)
    return Header(name, _shape(tensors[_KEY]["shape"]), str(tensors[_KEY]["dtype"]))


def _require_whole(name: str, said: int, size: int) -> None:
    if size < said:
        raise _Unfit(
            f"{name}, which is cut off: by its header it has {said} bytes, and there are {size}; write it again."
        )


def _shape(found: object) -> tuple[int, ...]:
    if not isinstance(found, tuple | list) or not all(isinstance(size, int) for size in found):
        raise ValueError(f"{found!r} is no shape")
    return tuple(found)
