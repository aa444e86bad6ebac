"""Biases against a field: by hand."""

from __future__ import annotations

from uuid import UUID

from prolu.spec.report import Distribution, Histogram
from service.domain.bias_curves import Seen, curves, spread


def distribution(low: float, high: float, *counts: int) -> Distribution:
    width = (high - low) / len(counts)
    edges = [low + width * index for index in range(len(counts))] + [high]
    return Distribution(
        mean=0.0, std=1.0, min=low, max=high, quantiles={}, histogram=Histogram(edges=edges, counts=[*counts])
    )


def test_runs_at_one_value_are_one_point_with_mean_spread_and_range() -> None:
    told = spread([1.0, 3.0])
    assert (told.mean, told.std, told.low, told.high, told.n) == (2.0, 2**0.5, 1.0, 3.0, 2)
    assert spread([5.0]).std is None


def test_histograms_of_all_runs_have_the_same_edges_and_each_run_counts_alike() -> None:
    runs = [
        Seen(UUID(int=1), "relu", 0.1, {"mean": -1.0}, distribution(-2.0, 0.0, 3, 1)),
        Seen(UUID(int=2), "relu", 0.1, {"mean": -2.0}, distribution(-2.0, 2.0, 0, 0, 0, 400)),
        Seen(UUID(int=3), "prolu", 0.2, {}, distribution(-2.0, 0.0, 1, 1)),
    ]
    edges, (prolu, relu) = curves(runs, bins=4)
    assert edges == [-2.0, -1.0, 0.0, 1.0, 2.0]
    assert relu.points[0].shares == [0.375, 0.125, 0.0, 0.5]
    assert relu.points[0].numbers["mean"].mean == -1.5
    assert (prolu.points[0].shares, prolu.points[0].numbers) == ([0.5, 0.5, 0.0, 0.0], {})


def test_values_rise_with_nothing_first_and_texts_last() -> None:
    runs = [Seen(UUID(int=place), None, x, {}) for place, x in enumerate(["a", 3, None, 0.5])]
    edges, (curve,) = curves(runs, bins=0)
    assert ([point.x for point in curve.points], edges, curve.points[0].shares) == ([None, 0.5, 3, "a"], [], [])
    assert curves([], bins=4) == ([], [])
