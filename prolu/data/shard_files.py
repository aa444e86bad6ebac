"""Memory-map the activations in one file: `.safetensors` (key `activations`) or `.npy`, (rows, d_in); never unpickled."""

from __future__ import annotations

import json
import tokenize
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from prolu.data.places import DataError

_KEY = "activations"
_LONGEST_HEADER_BYTES = 2_000_000
_KEYS_NAMED = 5
_NO_ARRAY = (ValueError, EOFError, OverflowError, RecursionError, MemoryError, tokenize.TokenError)
_SAFETENSORS_TYPES = {"F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8"}
_NPY_TYPES = frozenset({np.dtype("<f2"), np.dtype("<f4"), np.dtype("<f8")})


def map_shard(path: Path, name: str) -> NDArray[np.generic]:
    """Return the array of a file, which users know as `name`; bfloat16 as its bits in uint16.

    Raises DataError if it is not (rows, d_in) of floats.
    """
    array = _map_safetensors(path, name) if path.suffix == ".safetensors" else _map_npy(path, name)
    if array.ndim != 2 or array.size == 0:
        raise DataError(
            f"data.path holds {name} with shape {array.shape}; it must be (rows, d_in) with at least one row."
        )
    return array


def _map_npy(path: Path, name: str) -> NDArray[np.generic]:
    try:
        # Not numpy.load, which takes a zip or a pickle for what it says it is.
        with np.errstate(over="ignore"):  # it raises, too, where a shape overflows
            array: NDArray[np.generic] = np.lib.format.open_memmap(path, mode="r")
    except _NO_ARRAY as error:  # numpy reads the header as Python
        raise DataError(f"data.path holds {name}, which is not a plain .npy array ({error}); write it again.") from None
    if array.dtype.byteorder == ">" and array.dtype.newbyteorder("<") in _NPY_TYPES:
        raise DataError(
            f"data.path holds {name} of type {array.dtype.str}, which is big-endian; it must be little-endian: "
            f"numpy.save(path, array.astype('<{array.dtype.str[1:]}')) writes it so."
        )
    if array.dtype not in _NPY_TYPES:
        raise DataError(f"data.path holds {name} of type {array.dtype}; it must be float16, float32 or float64.")
    return array


def _map_safetensors(path: Path, name: str) -> NDArray[np.generic]:
    # safetensors reads whole tensors or ranges; rows in random order need a memory map, and the header says where.
    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
        if header_bytes > _LONGEST_HEADER_BYTES:
            raise DataError(
                f"data.path holds {name}, which is not a safetensors file of activations (its header has {header_bytes} bytes, "
                f"and {_LONGEST_HEADER_BYTES} is the most); write it again."
            )
        _require_key(path, name)
        entry = json.loads(file.read(header_bytes))[_KEY]
    if entry["dtype"] not in _SAFETENSORS_TYPES:
        known = ", ".join(_SAFETENSORS_TYPES)
        raise DataError(f"data.path holds {name} of type {entry['dtype']}; it must be one of {known}.")
    offset = 8 + header_bytes + int(entry["data_offsets"][0])
    shape = tuple(entry["shape"])
    if 0 in shape or not shape:
        raise DataError(f"data.path holds {name} with shape {shape}; it must be (rows, d_in) with at least one row.")
    return np.memmap(path, dtype=_SAFETENSORS_TYPES[entry["dtype"]], mode="r", offset=offset, shape=shape)


def _require_key(path: Path, name: str) -> None:
    """Have the library check the header as a whole: lengths, offsets, and that shapes fit between them."""
    try:
        with safe_open(path, framework="numpy") as file:
            names = sorted(file.keys())
    except SafetensorError as error:
        raise DataError(f"data.path holds {name}, which is not a safetensors file ({error}); write it again.") from None
    if _KEY not in names:
        more = f" and {len(names) - _KEYS_NAMED} more" if len(names) > _KEYS_NAMED else ""
        shown = [one[:80] for one in names[:_KEYS_NAMED]]
        raise DataError(f"data.path holds {name} with the keys {shown}{more}; it must have the key {_KEY!r}.")
