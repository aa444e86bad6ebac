"""The distribution of the gate's biases: what the ProLU exchange asked about first. Knows no training loop."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from prolu.analysis.density import LOG_FREQUENCY_EDGES, density_histogram, log_frequencies
from prolu.models.nonlinearity import effective_thresholds
from prolu.spec.report import (
    QUANTILES,
    BiasChange,
    BiasPopulation,
    BiasStatistics,
    Distribution,
    Histogram,
    JointHistogram,
)

# Bins of the histogram of one quantity.
BINS = 64
# Bins along each side of a joint histogram, at most; their edges are round numbers, which keeps the JSON short.
JOINT_BINS = 32
# A joint histogram spans these quantiles, so that a few outliers do not squeeze the rest into one bin.
JOINT_SPAN = (0.001, 0.999)
# Nor does it resolve less than this share of the largest value: unit norms differ by rounding alone.
_JOINT_RESOLUTION = 1e-3

_Values = npt.NDArray[np.float64]


def bias_statistics(
    gate_bias: Float[Tensor, " d_sae"],
    *,
    alive: Bool[Tensor, " d_sae"],
    firing_frequency: Float[Tensor, " d_sae"],
    decoder_norms: Float[Tensor, " d_sae"],
    previous: tuple[int, Float[Tensor, " d_sae"]] | None,
) -> BiasStatistics:
    """Return the statistics of the biases b and of max(0, -b): of all latents, of those in `alive`, and of the others.

    `firing_frequency` is a share of tokens; `previous` are the step and the biases of the snapshot before, if there was one.
    A sign flip is a change between b < 0 and b > 0 since then: leaving the zero that biases begin at, or reaching it, is none.
    Computed in float64 from the values as they are, in units of the projection m, all of which must be finite.

    A joint histogram has the bias in rows and at most 32 bins of equal width along each side, its edges multiples of a round
    step that cover the quantiles 0.001 to 0.999. Those of log10 frequency are those of `density_histogram`.
    """
    biases, living = _numbers(gate_bias), alive.cpu().numpy()
    edges, norms = _round_edges(biases), _numbers(decoder_norms)
    return BiasStatistics(
        all=_population(biases),
        alive=_population(biases[living]),
        dead=_population(biases[~living]),
        change=None if previous is None else _change(biases, previous[0], _numbers(previous[1])),
        density=density_histogram(firing_frequency),
        bias_by_frequency=_joint(biases, edges, log_frequencies(firing_frequency), LOG_FREQUENCY_EDGES),
        bias_by_decoder_norm=_joint(biases, edges, norms, _round_edges(norms)),
    )


def row_norms(W_dec: Float[Tensor, "d_sae d_in"]) -> Float[Tensor, " d_sae"]:
    """Return the norm of each row, in float32 unless a square overflows there, then in float64: finite for finite rows."""
    norms: Tensor = torch.linalg.vector_norm(W_dec, dim=1)
    if torch.isfinite(norms).all():
        return norms
    exact: Tensor = torch.linalg.vector_norm(W_dec, dim=1, dtype=torch.float64)
    return exact


def _numbers(values: Tensor) -> _Values:
    numbers: _Values = values.detach().double().cpu().numpy()
    return numbers


def _population(biases: _Values) -> BiasPopulation:
    count = len(biases)
    rising = np.sort(biases)
    thresholds = effective_thresholds(torch.from_numpy(rising).flip(0)).numpy()  # rising, too
    return BiasPopulation(
        count=count,
        fraction_negative=float(np.mean(biases < 0)) if count else None,
        fraction_zero=float(np.mean(biases == 0)) if count else None,
        fraction_positive=float(np.mean(biases > 0)) if count else None,
        bias=_distribution(rising),
        threshold=_distribution(thresholds),
    )


def _distribution(rising: _Values) -> Distribution:
    """Summarise values that are sorted, since most of the work is sorting."""
    if len(rising) == 0:
        return Distribution(
            mean=None, std=None, min=None, max=None, quantiles={}, histogram=Histogram(edges=[], counts=[])
        )
    quantiles = np.quantile(rising, QUANTILES)
    return Distribution(
        mean=float(rising.mean()),
        std=float(rising.std()),
        min=float(rising[0]),
        max=float(rising[-1]),
        quantiles={str(probability): float(value) for probability, value in zip(QUANTILES, quantiles, strict=True)},
        histogram=_histogram(rising),
    )


def _histogram(rising: _Values) -> Histogram:
    """Count in `BINS` equal bins from min to max; equal values, which span no range, get one bin around them.

    That one bin is as wide as the value is large, or 1 wide around zero, so that it is visible in a plot.
    """
    low, high = float(rising[0]), float(rising[-1])
    edges = np.linspace(low, high, BINS + 1)
    if not np.all(edges[1:] > edges[:-1]):
        half = max(abs(low), abs(high)) / 2 or 0.5
        edges = np.array([low - half, high + half])
    below = np.searchsorted(rising, edges[:-1], side="left")
    counts = np.diff(below, append=len(rising))  # the last bin holds its right edge too
    return Histogram(edges=edges.tolist(), counts=counts.tolist())


def _change(biases: _Values, since_step: int, before: _Values) -> BiasChange:
    drift = biases - before
    return BiasChange(
        since_step=since_step,
        sign_flips=int(np.count_nonzero(np.sign(biases) * np.sign(before) < 0)),
        drift_mean=float(drift.mean()),
        drift_rms=float(np.sqrt(np.mean(np.square(drift)))),
    )


def _joint(x: _Values, x_edges: _Values, y: _Values, y_edges: _Values) -> JointHistogram:
    rows, columns = len(x_edges) - 1, len(y_edges) - 1
    cells = _bins(x, x_edges) * columns + _bins(y, y_edges)
    counts = np.bincount(cells, minlength=rows * columns).reshape(rows, columns)
    return JointHistogram(x_edges=x_edges.tolist(), y_edges=y_edges.tolist(), counts=counts.tolist())


def _bins(values: _Values, edges: _Values) -> npt.NDArray[np.intp]:
    """Return the bin of each value, [left, right); those beyond an edge are in the bin at that edge."""
    return np.searchsorted(edges[1:-1], values, side="right")


def _round_edges(values: _Values) -> _Values:
    """Return edges of equal bins that cover `JOINT_SPAN` of the values: multiples of 1, 2, 2.5 or 5 times a power of ten."""
    low, high = np.quantile(values, JOINT_SPAN).tolist()
    span = max(high - low, _JOINT_RESOLUTION * max(abs(low), abs(high))) or 1.0
    least = span / (JOINT_BINS - 2)  # at most two bins are lost to rounding the two ends outward
    power = math.floor(math.log10(least))
    factor = next(factor for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if factor * 10.0**power >= least)
    step = factor * 10.0**power
    first, last = math.floor(low / step), math.ceil(high / step)
    if first == last:
        first, last = first - 1, last + 1
    multiples = [index * step for index in range(first, last + 1)]
    return np.array([round(edge, 2 - power) for edge in multiples])
