"""Measure the scale of a data set, once, for `dataset_rms` normalisation."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float
from torch import Tensor

from prolu.data.places import DataError
from prolu.data.rows import Rows
from prolu.models.normalisation import Normaliser
from prolu.spec.data import Normalisation

# Rows that are looked at; of more, evenly spaced ones. The sampling error is below that of any one evaluation.
MOST_ROWS = 65_536
_BATCH = 4_096


def rms_of(rows: Rows) -> float:
    """Return sqrt(mean ||x||^2 / d_in) over all rows, or over 65,536 evenly spaced ones of more.

    A pure function of the rows. Raises DataError if one of them holds a NaN or infinite value, or all hold zeros alone.
    """
    count = min(len(rows), MOST_ROWS)
    indices = np.arange(count, dtype=np.int64) * len(rows) // count
    return rms_of_batches(rows.gather(indices[start : start + _BATCH]) for start in range(0, count, _BATCH))


def rms_of_batches(batches: Iterable[Float[Tensor, "batch d_in"]]) -> float:
    """Return sqrt(mean ||x||^2 / d_in) over every row of every batch, summed in float64.

    Raises ValueError if there is no row, DataError if they hold zeros alone, which no scale brings to a norm.
    """
    squares, values = 0.0, 0
    for x in batches:
        # numpy adds in an order of its own that does not depend on the number of threads, so a resumed run gets the same bits.
        squares += float(np.square(x.numpy(), dtype=np.float64).sum())
        values += x.numel()
    if values == 0:
        raise ValueError("There are no activations to take the rms of; give at least one.")
    if squares == 0:
        raise DataError(
            f"The {values} values of the training activations are all zero, so data.normalisation 'dataset_rms' has no "
            "scale to divide by; choose another data.normalisation or other data."
        )
    return math.sqrt(squares / values)


def fit_normaliser(kind: Normalisation, rows: Rows) -> Normaliser:
    """Return the normaliser of this kind for training rows; reads them only for `dataset_rms`."""
    return Normaliser(kind, rms_of(rows) if kind == "dataset_rms" else None)
