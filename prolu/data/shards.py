"""Open activations that already lie in files: `.safetensors` (key `activations`) or `.npy`, each (rows, d_in).

Files are memory-mapped, never unpickled. On opening, shapes, types and up to 64 rows of each file are checked; every row is
checked for NaN and infinity when it is read.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from prolu.data.places import DataError, Places
from prolu.data.rms import fit_normaliser
from prolu.data.rows import Part, Rows
from prolu.data.stored import StoredSource
from prolu.spec.data import ShardsData

_KEY = "activations"
_SAMPLED_ROWS = 64
_SAFETENSORS_TYPES = {"F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8"}
_NPY_TYPES = frozenset({np.dtype("<f2"), np.dtype("<f4"), np.dtype("<f8")})


def open_shards(spec: ShardsData, places: Places) -> StoredSource:
    """Open the shards below `spec.path` in name order; the last `eval_samples` rows are held out.

    Raises DataError that names the file if one is not what it should be, or the path if there are too few rows.
    """
    files = places.files(spec.path, {".npy", ".safetensors"}, field="data.path")
    parts = [Part(path.name, _open(path)) for path in files]
    _check_widths(parts)
    for part in parts:
        sampled = np.linspace(0, len(part.array) - 1, _SAMPLED_ROWS).astype(np.int64)
        Rows([part]).gather(np.unique(sampled))
    rows = Rows(parts)
    train = len(rows) - spec.eval_samples
    if train < 1:
        raise DataError(
            f"data.path is {spec.path!r} with {len(rows)} rows, but data.eval_samples holds out {spec.eval_samples}; "
            "lower data.eval_samples or add shards."
        )
    training = rows.slice(0, train)
    normaliser = fit_normaliser(spec.normalisation, training)
    return StoredSource(training, rows.slice(train, len(rows)), seed=spec.seed, normaliser=normaliser)


def _open(path: Path) -> NDArray[np.generic]:
    array = _open_safetensors(path) if path.suffix == ".safetensors" else _open_npy(path)
    if array.ndim != 2 or array.size == 0:
        raise DataError(
            f"data.path holds {path.name} with shape {array.shape}; it must be (rows, d_in) with at least one row."
        )
    return array


def _open_npy(path: Path) -> NDArray[np.generic]:
    try:
        array: NDArray[np.generic] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise DataError(
            f"data.path holds {path.name}, which is not a plain .npy array ({error}); write it again."
        ) from None
    if array.dtype not in _NPY_TYPES:
        raise DataError(f"data.path holds {path.name} of type {array.dtype}; it must be float16, float32 or float64.")
    return array


def _open_safetensors(path: Path) -> NDArray[np.generic]:
    try:
        with safe_open(path, framework="numpy") as file:
            names = sorted(file.keys())
    except SafetensorError as error:
        raise DataError(
            f"data.path holds {path.name}, which is not a safetensors file ({error}); write it again."
        ) from None
    if _KEY not in names:
        raise DataError(f"data.path holds {path.name} with the keys {names}; it must have the key {_KEY!r}.")
    # safetensors reads whole tensors or ranges; rows in random order need a memory map, and the header says where.
    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
        entry = json.loads(file.read(header_bytes))[_KEY]
    if entry["dtype"] not in _SAFETENSORS_TYPES:
        known = ", ".join(_SAFETENSORS_TYPES)
        raise DataError(f"data.path holds {path.name} of type {entry['dtype']}; it must be one of {known}.")
    offset = 8 + header_bytes + int(entry["data_offsets"][0])
    shape = tuple(entry["shape"])
    if 0 in shape:
        return np.empty(shape, dtype=_SAFETENSORS_TYPES[entry["dtype"]])
    return np.memmap(path, dtype=_SAFETENSORS_TYPES[entry["dtype"]], mode="r", offset=offset, shape=shape)


def _check_widths(arrays: Sequence[Part]) -> None:
    first = arrays[0]
    for part in arrays[1:]:
        if part.array.shape[1] != first.array.shape[1]:
            raise DataError(
                f"data.path holds {first.name} of width {first.array.shape[1]} and {part.name} of width "
                f"{part.array.shape[1]}; all shards must have one d_in."
            )
