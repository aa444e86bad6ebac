"""The distribution of encoder biases: what the ProLU exchange asked about first. Knows no training loop."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from jaxtyping import Bool, Float
from torch import Tensor

from prolu.models.nonlinearity import effective_thresholds
from prolu.spec.report import QUANTILES, BiasPopulation, BiasStatistics, Distribution, Histogram

BINS = 64

_Values = npt.NDArray[np.float64]


def bias_statistics(b_enc: Float[Tensor, " d_sae"], alive: Bool[Tensor, " d_sae"]) -> BiasStatistics:
    """Return the statistics of b_enc and of max(0, -b_enc): of all latents, of those in `alive`, and of the others.

    Computed in float64 from the values as they are, in units of the projection m. b_enc must be finite.
    """
    biases = _numbers(b_enc)
    thresholds = _numbers(effective_thresholds(b_enc.detach()))
    living = alive.cpu().numpy()
    return BiasStatistics(
        all=_population(biases, thresholds),
        alive=_population(biases[living], thresholds[living]),
        dead=_population(biases[~living], thresholds[~living]),
    )


def _numbers(values: Tensor) -> _Values:
    numbers: _Values = values.detach().double().cpu().numpy()
    return numbers


def _population(biases: _Values, thresholds: _Values) -> BiasPopulation:
    count = len(biases)
    return BiasPopulation(
        count=count,
        fraction_negative=float(np.mean(biases < 0)) if count else None,
        fraction_zero=float(np.mean(biases == 0)) if count else None,
        fraction_positive=float(np.mean(biases > 0)) if count else None,
        bias=_distribution(biases),
        threshold=_distribution(thresholds),
    )


def _distribution(values: _Values) -> Distribution:
    if len(values) == 0:
        return Distribution(
            mean=None, std=None, min=None, max=None, quantiles={}, histogram=Histogram(edges=[], counts=[])
        )
    quantiles = np.quantile(values, QUANTILES)
    return Distribution(
        mean=float(values.mean()),
        std=float(values.std()),
        min=float(values.min()),
        max=float(values.max()),
        quantiles={str(probability): float(value) for probability, value in zip(QUANTILES, quantiles, strict=True)},
        histogram=_histogram(values),
    )


def _histogram(values: _Values) -> Histogram:
    """Count in `BINS` equal bins from min to max; equal values, which span no range, get one bin around them.

    That one bin is as wide as the value is large, or 1 wide around zero, so that it is visible in a plot.
    """
    low, high = float(values.min()), float(values.max())
    edges = np.linspace(low, high, BINS + 1)
    if not np.all(edges[1:] > edges[:-1]):
        half = max(abs(low), abs(high)) / 2 or 0.5
        edges = np.array([low - half, high + half])
    counts, _ = np.histogram(values, bins=edges)
    return Histogram(edges=edges.tolist(), counts=counts.tolist())
