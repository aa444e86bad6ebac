"""Histograms of several distributions on common bins, so that they can be laid over each other or averaged. Pure Python."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from prolu.spec.report import Distribution


def common_edges(distributions: Iterable[Distribution], bins: int, *, trim: bool = False) -> list[float]:
    """`bins` + 1 rising edges, equally spaced, that span every distribution; empty ones do not count; of none: 0 to 1.

    With `trim` they span zero and the middle 98 % of each, so that a few far values do not squeeze the rest.
    """
    ends: list[float] = []
    for distribution in distributions:
        low, high = distribution.min, distribution.max
        if trim:
            low, high = distribution.quantiles.get("0.01", low), distribution.quantiles.get("0.99", high)
        ends += [end for end in (low, high) if end is not None]
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    if trim and ends:
        low, high = min(low, 0.0), max(high, 0.0)
        low, high = low - 0.05 * (high - low), high + 0.05 * (high - low)
    if high <= low:
        margin = max(abs(low) * 1e-3, 1e-3)
        low, high = low - margin, high + margin
    width = (high - low) / bins
    return [low + index * width for index in range(bins)] + [high]


def rebin(distribution: Distribution, edges: Sequence[float]) -> list[float]:
    """The counts on other bins, each old bin spread evenly over its width; what lies beyond the edges is left out.

    Equal values, whose one bin is as wide as it takes to be seen, fall into the one new bin that holds them.
    """
    counts = [0.0] * (len(edges) - 1)
    histogram = distribution.histogram
    value = distribution.min
    if value is not None and value == distribution.max:
        if edges[0] <= value <= edges[-1]:
            counts[min(bisect_right(edges, value) - 1, len(counts) - 1)] = float(sum(histogram.counts))
        return counts
    for low, high, count in zip(histogram.edges[:-1], histogram.edges[1:], histogram.counts, strict=True):
        first = max(0, bisect_right(edges, low) - 1)
        for index in range(first, len(counts)):
            overlap = min(high, edges[index + 1]) - max(low, edges[index])
            if edges[index] >= high:
                break
            counts[index] += count * max(0.0, overlap) / (high - low)
    return counts
