"""Rows of activations in several memory-mapped arrays, read as one. Knows no order and no normalisation.

Arrays hold float16, float32 or float64; or uint16, which means the bits of bfloat16 (numpy has no such type).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from prolu.data.places import DataError


@dataclass(frozen=True)
class Part:
    """Some consecutive rows of one array."""

    name: str
    """What to call the array in an error: its file name."""
    array: NDArray[np.generic]
    """Values, shape (rows, d_in)."""
    first_row: int = 0
    """Where in the file the first of them stands, which errors count from."""


class Rows:
    """Several parts, one after the other."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = list(parts)
        self._ends = np.cumsum([len(part.array) for part in self._parts])

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def d_in(self) -> int:
        """Width of one row."""
        return int(self._parts[0].array.shape[1])

    def gather(self, indices: NDArray[np.int64]) -> Float[Tensor, "batch d_in"]:
        """Return the rows at `indices`, shape (batch,), in that order, as float32.

        Reads in file order, since neighbours share a page. Raises DataError if a value is NaN or infinite.
        """
        order = np.argsort(indices, kind="stable")
        rising = indices[order]
        gathered = np.empty((len(indices), self.d_in), dtype=np.float32)
        for part, start, first, last in self._spans(rising):
            values = np.asarray(part.array)[rising[first:last] - start]
            gathered[order[first:last]] = to_float32(values)
        return self._checked(gathered, indices)

    def slice(self, start: int, stop: int) -> Rows:
        """Return the rows start ... stop - 1, without reading them."""
        parts = []
        begin = 0
        for part, end in zip(self._parts, self._ends.tolist(), strict=True):
            skipped = max(start - begin, 0)
            kept = part.array[skipped : max(stop - begin, 0)]
            if len(kept):
                parts.append(Part(part.name, kept, part.first_row + skipped))
            begin = end
        return Rows(parts)

    def _spans(self, rising: NDArray[np.int64]) -> list[tuple[Part, int, int, int]]:
        """Split rising row numbers by part: the part, its first row, and the first and last + 1 position in `rising`."""
        cuts = np.searchsorted(rising, self._ends).tolist()
        spans = []
        first, start = 0, 0
        for part, cut, end in zip(self._parts, cuts, self._ends.tolist(), strict=True):
            if cut > first:
                spans.append((part, start, first, cut))
            first, start = cut, end
        return spans

    def _checked(self, values: NDArray[np.float32], indices: NDArray[np.int64]) -> Float[Tensor, "batch d_in"]:
        bad = bad_rows(values)
        if bad.size:
            row = int(indices[bad[0]])
            place = int(np.searchsorted(self._ends, row, side="right"))
            within = row - int(self._ends[place - 1]) if place else row
            part = self._parts[place]
            raise not_finite(np.asarray(part.array[within]), part.first_row + within, part.name)
        return torch.from_numpy(values)


def bad_rows(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the rows of `values`, shape (rows, d_in), that hold a NaN or infinite value, rising."""
    # A sum is finite only if every value is, or if huge values overflow; only then is each value looked at.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(values.sum()):
            return np.empty(0, dtype=np.int64)
    return np.flatnonzero(~np.isfinite(values).all(axis=1))


def not_finite(values: NDArray[np.generic], row: int, name: str) -> DataError:
    """Return the error that row number `row` of a file, with these `values` as stored, holds what no activation may be."""
    if values.dtype == np.float64 and np.isfinite(values).all():
        return DataError(
            f"Activations hold a value that does not fit float32 in row {row} of {name} (the largest is "
            f"{np.abs(values.astype(np.float64)).max():.3g}, float32 ends at 3.4e+38); write the shards again on a smaller scale."
        )
    return DataError(
        f"Activations hold a NaN or infinite value in row {row} of {name}; write the shards again without it."
    )


def to_float32(values: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return the values that an array stands for; uint16 are the bits of bfloat16."""
    if values.dtype == np.uint16:
        return (values.astype(np.uint32) << np.uint32(16)).view(np.float32)
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite, which the check reports
        return values.astype(np.float32, copy=False)
