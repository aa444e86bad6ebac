"""Bias statistics: what they count, of whom, and the edges of their histograms."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prolu.analysis.bias_stats import BINS, JOINT_BINS, bias_statistics, row_norms
from prolu.spec.report import QUANTILES, BiasStatistics, Distribution, JointHistogram

BIASES = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=50)


def statistics_of(
    values: list[float],
    alive: list[bool] | None = None,
    *,
    frequencies: list[float] | None = None,
    norms: list[float] | None = None,
    previous: tuple[int, list[float]] | None = None,
    dtype: torch.dtype = torch.float32,
) -> BiasStatistics:
    return bias_statistics(
        torch.tensor(values, dtype=dtype),
        alive=torch.tensor(alive or [True] * len(values)),
        firing_frequency=torch.tensor(frequencies or [0.01] * len(values)),
        decoder_norms=torch.tensor(norms or [1.0] * len(values)),
        previous=None if previous is None else (previous[0], torch.tensor(previous[1], dtype=dtype)),
    )


def occupied(joint: JointHistogram) -> dict[tuple[float, float], int]:
    """Counts by the left edges of their cells; cells without latents are left out."""
    return {
        (joint.x_edges[row], joint.y_edges[column]): count
        for row, counts in enumerate(joint.counts)
        for column, count in enumerate(counts)
        if count
    }


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


@given(values=BIASES)
def test_quantiles_and_counts_equal_those_of_numpy(values: list[float]) -> None:
    bias, numbers = statistics_of(values).all.bias, np.array(values)
    assert list(bias.quantiles.values()) == np.quantile(numbers, QUANTILES).tolist()
    assert bias.histogram.counts == np.histogram(numbers, bins=bias.histogram.edges)[0].tolist()


def test_the_first_snapshot_has_no_change() -> None:
    assert statistics_of([-1.0, 1.0]).change is None


def test_change_counts_sign_flips_and_drift_since_the_snapshot_before() -> None:
    change = statistics_of([-1.0, 0.0, 2.0, -3.0], previous=(40, [-2.0, -1.0, -1.0, 0.0])).change
    assert change is not None
    assert change.since_step == 40
    assert change.sign_flips == 1  # -1 to 2; neither -1 to 0 nor 0 to -3 changes between negative and positive
    assert change.drift_mean == (1 + 1 + 3 - 3) / 4
    assert change.drift_rms == math.sqrt((1 + 1 + 9 + 9) / 4)


def test_a_bias_that_leaves_the_zero_it_began_at_is_no_sign_flip() -> None:
    change = statistics_of([-1.0, -1e-30, 0.5, -0.0], previous=(0, [0.0, -0.0, 0.0, 0.0])).change
    assert change is not None
    assert change.sign_flips == 0


def test_sign_flips_count_both_directions_of_the_smallest_numbers() -> None:
    change = statistics_of([1e-300, -1e-300], previous=(0, [-1e-300, 1e-300]), dtype=torch.float64).change
    assert change is not None
    assert change.sign_flips == 2


def test_density_counts_latents_by_the_decade_they_fire_in() -> None:
    density = statistics_of([0.0] * 5, frequencies=[0.0, 1e-9, 0.011, 0.9, 1.0]).density
    assert density is not None
    assert (density.edges[0], density.edges[-1], len(density.edges)) == (-8.0, 0.0, 33)
    assert (density.counts[0], density.counts[-1], density.counts[-8]) == (2, 2, 1)
    assert sum(density.counts) == 5


def test_joint_histograms_tell_which_latents_fire_often_and_which_rows_are_long() -> None:
    statistics = statistics_of([-1.0, -1.0, 0.5], frequencies=[1e-3, 1e-3, 0.5], norms=[1.0, 1.0, 3.0])
    by_frequency, by_norm = statistics.bias_by_frequency, statistics.bias_by_decoder_norm
    assert by_frequency is not None
    assert by_norm is not None
    assert occupied(by_frequency) == {(-1.0, -3.0): 2, (0.5 - 0.05, -0.5): 1}
    assert occupied(by_norm) == {(-1.0, 1.0): 2, (0.5 - 0.05, 2.9): 1}


def test_values_beyond_the_span_of_a_joint_histogram_count_in_its_outermost_bins() -> None:
    biases = [-1e6, *torch.linspace(-1, 0, 4_998).tolist(), 1e6]
    joint = statistics_of(biases).bias_by_frequency
    assert joint is not None
    assert -1.1 < joint.x_edges[0] < joint.x_edges[-1] < 0.1
    assert sum(map(sum, joint.counts)) == 5_000


@given(values=BIASES, norms=st.lists(st.floats(0, 2.0**99, width=32), min_size=50, max_size=50))
def test_joint_histograms_have_rising_edges_and_every_latent(values: list[float], norms: list[float]) -> None:
    statistics = statistics_of(values, norms=norms[: len(values)])
    for joint in (statistics.bias_by_frequency, statistics.bias_by_decoder_norm):
        assert joint is not None
        assert sum(map(sum, joint.counts)) == len(values)
        assert [len(joint.counts), len(joint.counts[0])] == [len(joint.x_edges) - 1, len(joint.y_edges) - 1]
        for edges in (joint.x_edges, joint.y_edges):
            assert all(left < right for left, right in pairwise(edges))
            assert 2 <= len(edges) <= JOINT_BINS + 1


def test_statistics_survive_json_to_the_bit() -> None:
    normal = torch.randn(3, 1_000, generator=torch.Generator().manual_seed(0))
    statistics = statistics_of(normal[0].tolist(), norms=normal[1].tolist(), previous=(7, normal[2].tolist()))
    assert BiasStatistics.model_validate_json(statistics.model_dump_json()) == statistics


def test_a_snapshot_adds_at_most_8_kilobytes_to_a_report_however_many_latents_there_are() -> None:
    generator = torch.Generator().manual_seed(0)
    statistics = bias_statistics(
        torch.randn(100_000, generator=generator),
        alive=torch.rand(100_000, generator=generator) < 0.9,
        firing_frequency=10 ** (4 * torch.rand(100_000, generator=generator) - 4),
        decoder_norms=torch.rand(100_000, generator=generator),
        previous=None,
    )
    assert len(statistics.model_dump_json(include={"density", "bias_by_frequency", "bias_by_decoder_norm"})) < 8_000


def test_norms_and_biases_as_large_as_float32_goes_have_statistics() -> None:
    largest = torch.finfo(torch.float32).max
    b, norms = torch.tensor([-largest, largest]), row_norms(torch.full((2, 4), largest))
    assert norms.tolist() == pytest.approx([2 * largest] * 2)
    assert row_norms(torch.ones(2, 4)).dtype == torch.float32
    statistics = bias_statistics(b, alive=b > 0, firing_frequency=torch.zeros(2), decoder_norms=norms, previous=(0, -b))
    assert statistics.change is not None
    assert statistics.change.sign_flips == 2
    assert sum(map(sum, statistics.bias_by_decoder_norm.counts)) == 2
    assert "NaN" not in statistics.model_dump_json()
