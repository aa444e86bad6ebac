"""Histograms keep their mass when they change their bins."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prolu.client.histograms import bar, sparkline
from prolu.spec.binning import common_edges, rebin
from prolu.spec.report import Distribution, Histogram


def distribution(edges: list[float], counts: list[int], **more: float) -> Distribution:
    low, high = (edges[0], edges[-1]) if edges else (None, None)
    ends = {"min": low, "max": high, **more}
    return Distribution(mean=None, std=None, quantiles={}, histogram=Histogram(edges=edges, counts=counts), **ends)


EMPTY = distribution([], [])


@given(
    st.lists(st.integers(0, 1_000), min_size=1, max_size=20),
    st.floats(-100, 100),
    st.floats(0.01, 10),
    st.integers(1, 40),
)
def test_rebinning_over_the_whole_range_keeps_the_sum(counts: list[int], low: float, width: float, bins: int) -> None:
    given = distribution([low + width * index for index in range(len(counts) + 1)], counts)
    assert sum(rebin(given, common_edges([given], bins))) == pytest.approx(sum(counts))


def test_a_bin_is_spread_evenly_over_the_bins_that_it_covers() -> None:
    assert rebin(distribution([0.0, 2.0, 4.0], [4, 8]), [0.0, 1.0, 3.0, 4.0]) == [2.0, 6.0, 4.0]


def test_what_lies_beyond_the_edges_is_left_out() -> None:
    assert rebin(distribution([-2.0, 0.0, 2.0], [4, 4]), [-1.0, 0.0, 1.0]) == [2.0, 2.0]


def test_equal_values_fall_into_the_one_bin_that_holds_them() -> None:
    zeros = distribution([-0.5, 0.5], [9], min=0.0, max=0.0)
    assert rebin(zeros, [-1.0, -0.25, 0.25, 1.0]) == [0.0, 9.0, 0.0]
    assert rebin(zeros, [-1.0, 0.0]) == [9.0]
    assert rebin(zeros, [1.0, 2.0]) == [0.0]


def test_common_edges_span_every_distribution_and_ignore_empty_ones() -> None:
    edges = common_edges([EMPTY, distribution([-1.0, 0.0], [1]), distribution([0.5, 3.0], [1])], 4)
    assert edges == [-1.0, 0.0, 1.0, 2.0, 3.0]


def test_common_edges_of_nothing_or_of_one_value_still_rise() -> None:
    for distributions in ([], [EMPTY], [distribution([1.5, 4.5], [2], min=3.0, max=3.0)]):
        edges = common_edges(distributions, 3)
        assert all(left < right for left, right in pairwise(edges))


def test_trimmed_edges_span_zero_and_the_middle_of_the_values() -> None:
    tailed = distribution([-100.0, 0.0], [5]).model_copy(update={"quantiles": {"0.01": -4.0, "0.99": -1.0}})
    edges = common_edges([tailed], 10, trim=True)
    assert edges[0] == pytest.approx(-4.2)
    assert edges[-1] == pytest.approx(0.2)


def test_a_sparkline_is_as_high_as_the_share_of_the_peak_and_never_blank_where_something_is() -> None:
    assert sparkline([0, 1, 50, 100]) == " ▁▄█"
    assert sparkline([0, 0]) == "  "
    assert sparkline([]) == ""


def test_a_bar_has_eighths_of_a_character() -> None:
    assert bar(1.0, 4) == "████"
    assert bar(0.5, 3) == "█▌"
    assert bar(0.0, 4) == ""
    assert len(bar(0.99, 10)) == 10
