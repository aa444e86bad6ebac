"""Bias statistics: what they count, of whom, and the edges of their histograms."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prolu.analysis.bias_stats import BINS, bias_statistics
from prolu.spec.report import QUANTILES, BiasStatistics, Distribution

BIASES = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=50)


def statistics_of(values: list[float], alive: list[bool] | None = None) -> BiasStatistics:
    return bias_statistics(torch.tensor(values), torch.tensor(alive or [True] * len(values)))


def test_fractions_count_signs() -> None:
    population = statistics_of([-2.0, -0.5, -1e-30, 0.0, 3.0]).all
    assert population.count == 5
    assert population.fraction_negative == 0.6
    assert population.fraction_zero == 0.2
    assert population.fraction_positive == 0.2


def test_negative_zero_is_zero() -> None:
    assert statistics_of([-0.0, 0.0]).all.fraction_zero == 1.0


def test_moments_and_quantiles_are_those_of_the_population() -> None:
    values = [-3.0, -1.0, 0.0, 2.0, 7.0]
    bias = statistics_of(values).all.bias
    assert (bias.mean, bias.min, bias.max) == (1.0, -3.0, 7.0)
    assert bias.std == pytest.approx(math.sqrt(sum((value - 1) ** 2 for value in values) / 5))
    assert bias.quantiles["0.5"] == 0.0
    assert bias.quantiles["0.25"] == -1.0
    assert bias.quantiles["0.05"] == pytest.approx(-3 + 2 * 0.2)
    assert list(bias.quantiles) == [str(probability) for probability in QUANTILES]


def test_thresholds_take_positive_biases_as_zero() -> None:
    threshold = statistics_of([-2.0, -1.0, 0.0, 5.0]).all.threshold
    assert (threshold.min, threshold.max, threshold.mean) == (0.0, 2.0, 0.75)


def test_alive_and_dead_latents_are_told_apart() -> None:
    statistics = statistics_of([-1.0, -2.0, 4.0], [True, False, True])
    assert (statistics.all.count, statistics.alive.count, statistics.dead.count) == (3, 2, 1)
    assert statistics.alive.bias.mean == 1.5
    assert statistics.dead.bias.mean == -2.0
    assert statistics.dead.fraction_negative == 1.0


def test_an_empty_population_has_nulls_and_no_bins() -> None:
    dead = statistics_of([-1.0, -2.0]).dead
    assert dead.count == 0
    assert (dead.fraction_negative, dead.fraction_zero, dead.fraction_positive) == (None, None, None)
    for distribution in (dead.bias, dead.threshold):
        assert (distribution.mean, distribution.std, distribution.min, distribution.max) == (None, None, None, None)
        assert distribution.quantiles == {}
        assert distribution.histogram.edges == []
        assert distribution.histogram.counts == []


def test_the_histogram_has_equal_bins_from_min_to_max() -> None:
    bias = statistics_of(torch.linspace(-1, 3, 6_401).tolist()).all.bias
    edges, counts = bias.histogram.edges, bias.histogram.counts
    assert (len(edges), len(counts)) == (BINS + 1, BINS)
    assert (edges[0], edges[-1]) == (-1.0, 3.0)
    assert [right - left for left, right in pairwise(edges)] == pytest.approx([4 / BINS] * BINS)
    assert sum(counts) == 6_401
    assert counts[0] == pytest.approx(100, abs=2)
    assert counts[-1] == pytest.approx(101, abs=2)


@pytest.mark.parametrize(("value", "edges"), [(0.0, [-0.5, 0.5]), (-2.0, [-3.0, -1.0]), (4.0, [2.0, 6.0])])
def test_equal_values_get_one_bin_around_them(value: float, edges: list[float]) -> None:
    histogram = statistics_of([value] * 7).all.bias.histogram
    assert histogram.edges == edges
    assert histogram.counts == [7]


@given(values=BIASES)
def test_every_value_lands_in_a_bin_and_everything_is_finite(values: list[float]) -> None:
    for distribution in (statistics_of(values).all.bias, statistics_of(values).all.threshold):
        check_consistent(distribution, len(values))


def check_consistent(distribution: Distribution, count: int) -> None:
    edges = distribution.histogram.edges
    assert sum(distribution.histogram.counts) == count
    assert all(left < right for left, right in pairwise(edges))
    assert distribution.min is not None
    assert distribution.max is not None
    assert edges[0] <= distribution.min
    assert distribution.max <= edges[-1]
    numbers = [distribution.mean, distribution.std, *distribution.quantiles.values(), *edges]
    assert np.all(np.isfinite(np.array(numbers, dtype=np.float64)))


def test_statistics_survive_json_to_the_bit() -> None:
    statistics = statistics_of(torch.randn(1_000, generator=torch.Generator().manual_seed(0)).tolist())
    assert BiasStatistics.model_validate_json(statistics.model_dump_json()) == statistics
