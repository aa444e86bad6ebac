"""What a run measured as rows that every tracker understands: a step, numbers by name, and histograms by name.

Names have the part before the slash by which trackers group their panels:

    train/l0, held_out/fvu                  the metric series
    bias/fraction_negative, bias/mean       numbers of the encoder biases of all latents
    bias_alive/mean, bias_dead/mean         of the alive and the dead
    bias_change/sign_flips                  since the snapshot before
    bias, threshold, log10_frequency        histograms, with the bins of the service; bias_alive, ... as above
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from prolu.client.wire import BiasSnapshotRead, MetricRead
from prolu.spec.report import BiasPopulation, BiasStatistics, Distribution, Histogram

_NUMBERS = ("fraction_negative", "fraction_zero", "fraction_positive")


@dataclass(frozen=True)
class Bins:
    """A histogram, and the moments of the numbers in it where they are known."""

    edges: list[float]
    counts: list[int]
    mean: float
    mean_square: float


@dataclass(frozen=True)
class Row:
    """All that was measured at one step."""

    step: int
    tokens: int
    at: datetime
    values: dict[str, float] = field(default_factory=dict)
    histograms: dict[str, Bins] = field(default_factory=dict)


def rows_of(
    points: Iterable[MetricRead], snapshots: Iterable[BiasSnapshotRead], when: Callable[[int], datetime]
) -> list[Row]:
    """Put metrics and snapshots of equal steps together, by step; `when` tells at what time a step was done."""
    rows: dict[int, Row] = {}

    def row(step: int, tokens: int) -> Row:
        return rows.setdefault(step, Row(step, tokens, when(step)))

    for point in points:
        row(point.step, point.tokens).values.update(
            {f"{point.split}/{name}": value for name, value in point.values.items()}
        )
    for snapshot in snapshots:
        there = row(snapshot.step, snapshot.tokens)
        there.values.update(_numbers(snapshot.statistics))
        there.histograms.update(_histograms(snapshot.statistics))
    return [rows[step] for step in sorted(rows)]


def _populations(statistics: BiasStatistics) -> Mapping[str, BiasPopulation]:
    return {"": statistics.all, "_alive": statistics.alive, "_dead": statistics.dead}


def _numbers(statistics: BiasStatistics) -> Iterator[tuple[str, float]]:
    for suffix, population in _populations(statistics).items():
        yield f"bias{suffix}/count", population.count
        told = {name: getattr(population, name) for name in _NUMBERS}
        told |= {name: getattr(population.bias, name) for name in ("mean", "std", "min", "max")}
        yield from ((f"bias{suffix}/{name}", value) for name, value in told.items() if value is not None)
    if (change := statistics.change) is not None:
        yield "bias_change/sign_flips", change.sign_flips
        yield "bias_change/drift_mean", change.drift_mean
        yield "bias_change/drift_rms", change.drift_rms


def _histograms(statistics: BiasStatistics) -> Iterator[tuple[str, Bins]]:
    for suffix, population in _populations(statistics).items():
        for name, numbers in (("bias", population.bias), ("threshold", population.threshold)):
            if numbers.histogram.counts:
                yield f"{name}{suffix}", _bins(numbers)
    if statistics.density is not None and statistics.density.counts:
        yield "log10_frequency", _bins_alone(statistics.density)


def _bins(numbers: Distribution) -> Bins:
    if numbers.mean is None or numbers.std is None:
        return _bins_alone(numbers.histogram)
    mean_square = numbers.std**2 + numbers.mean**2
    return Bins(numbers.histogram.edges, numbers.histogram.counts, numbers.mean, mean_square)


def _bins_alone(histogram: Histogram) -> Bins:
    """Moments as if every number lay in the middle of its bin."""
    total = sum(histogram.counts) or 1
    middles = [(low + high) / 2 for low, high in zip(histogram.edges, histogram.edges[1:], strict=False)]
    mean = sum(count * middle for count, middle in zip(histogram.counts, middles, strict=True)) / total
    mean_square = sum(count * middle**2 for count, middle in zip(histogram.counts, middles, strict=True)) / total
    return Bins(histogram.edges, histogram.counts, mean, mean_square)
