"""The area under a Pareto frontier: hand-worked cases, and what must not matter to it."""

import math
import random
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from prolu.analysis.frontier import (
    Points,
    UncoveredRange,
    area_over_seeds,
    area_under_frontier,
    common_range,
    difference,
    frontier,
)

SCORE = st.floats(-1, 1)
# One sparse run, one dense run, and any others: so that there is a range to speak of.
POINTS = st.builds(
    lambda sparse, dense, others: [sparse, *others, dense],
    st.tuples(st.floats(1, 10), SCORE),
    st.tuples(st.floats(100, 1_000), SCORE),
    st.lists(st.tuples(st.floats(1, 1_000), SCORE), max_size=8),
)


def reach(points: Points) -> tuple[float, float]:
    """The whole range that the points cover."""
    return float(min(l0 for l0, _ in points)), float(max(l0 for l0, _ in points))


def area(points: Points) -> float:
    low, high = reach(points)
    return area_under_frontier(points, low=low, high=high)


def test_a_straight_line_in_log_l0_has_the_area_of_its_middle() -> None:
    assert area([(10, 0.5), (1_000, 0.9)]) == pytest.approx(0.7)
    assert area_under_frontier([(10, 0.5), (1_000, 0.9)], low=10.0, high=100.0) == pytest.approx(0.6)


def test_a_frontier_worked_by_hand() -> None:
    points = [(40, 0.85), (10, 0.5), (15, 0.4), (20, 0.9), (20, 0.3)]
    assert frontier(points) == [(10, 0.5), (20, 0.9)]
    # from 10 to 20 the mean is 0.7; from 20 to 40, where the run at 40 is worse than that at 20, it stays at 0.9
    assert area_under_frontier(points, low=10.0, high=40.0) == pytest.approx(0.8)


def test_of_fvu_the_lower_is_the_better() -> None:
    points = [(10, 0.5), (20, 0.1), (20, 0.7), (40, 0.15)]
    assert frontier(points, better="lower") == [(10, 0.5), (20, 0.1)]
    assert area_under_frontier(points, low=10.0, high=40.0, better="lower") == pytest.approx(0.2)


def test_equal_scores_leave_the_sparser_run() -> None:
    assert frontier([(20, 0.5), (10, 0.5), (5, 0.1)]) == [(5, 0.1), (10, 0.5)]


@given(POINTS)
def test_the_frontier_rises_strictly_and_dominates_every_point(points: Points) -> None:
    kept = frontier(points)
    assert all(one[0] < other[0] and one[1] < other[1] for one, other in pairwise(kept))
    assert all(any(l0 <= point[0] and score >= point[1] for l0, score in kept) for point in points)


@given(POINTS, st.data())
def test_a_dominated_point_changes_nothing(points: Points, data: st.DataObject) -> None:
    low, high = reach(points)
    l0, score = data.draw(st.sampled_from(list(points)))
    worse = (l0 * data.draw(st.floats(1, 10)), score - data.draw(st.floats(0, 1)))
    with_worse = area_under_frontier([*points, worse], low=low, high=high)
    assert with_worse == area_under_frontier(points, low=low, high=high)


@given(POINTS, st.randoms(use_true_random=False))
def test_the_order_of_the_points_does_not_matter(points: Points, order: random.Random) -> None:
    shuffled = list(points)
    order.shuffle(shuffled)
    assert area(shuffled) == area(points)


@given(POINTS, SCORE)
def test_a_constant_score_is_its_own_area(points: Points, score: float) -> None:
    assert area([(l0, score) for l0, _ in points]) == pytest.approx(score, abs=1e-12)


@given(POINTS)
def test_the_area_lies_between_the_worst_and_the_best_score_of_the_frontier(points: Points) -> None:
    scores = [score for _, score in frontier(points)]
    assert min(scores) - 1e-12 <= area(points) <= max(scores) + 1e-12


@given(POINTS, SCORE)
def test_adding_a_constant_to_every_score_adds_it_to_the_area(points: Points, constant: float) -> None:
    assume(len(frontier(points)) == len(frontier([(l0, score + constant) for l0, score in points])))  # rounding may tie
    assert area([(l0, score + constant) for l0, score in points]) == pytest.approx(area(points) + constant, abs=1e-9)


@given(POINTS, st.data())
def test_improving_a_run_on_the_frontier_never_lowers_the_area(points: Points, data: st.DataObject) -> None:
    best = data.draw(st.sampled_from(frontier(points)))
    improved = [*points, (best[0], best[1] + data.draw(st.floats(0, 1)))]
    assert area(improved) >= area(points) - 1e-12


@given(POINTS)
def test_lower_is_better_mirrors_higher_is_better(points: Points) -> None:
    low, high = reach(points)
    mirrored = area_under_frontier([(l0, -score) for l0, score in points], low=low, high=high, better="lower")
    assert mirrored == pytest.approx(-area(points))


@pytest.mark.parametrize(("low", "high"), [(9.0, 30.0), (15.0, 41.0)])
def test_a_range_that_the_points_do_not_cover_is_refused(low: float, high: float) -> None:
    with pytest.raises(UncoveredRange, match="reach from l0 10 to 40, not over"):
        area_under_frontier([(10, 0.5), (40, 0.9)], low=low, high=high)


@pytest.mark.parametrize("points", [[], [(0.0, 0.5), (3.0, 0.6)], [(1.0, math.nan), (3.0, 0.6)], [(math.inf, 0.5)]])
def test_points_that_have_no_place_on_the_axes_are_refused(points: Points) -> None:
    with pytest.raises(ValueError, match="point"):
        frontier(points)


def test_a_range_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="smaller one first"):
        area_under_frontier([(10, 0.5), (40, 0.9)], low=20.0, high=20.0)


def test_the_areas_of_the_seeds_are_summarised() -> None:
    seeds = [[(10, 0.5), (40, 0.5)], [(10, 0.7), (40, 0.7)], [(10, 0.9), (40, 0.9)]]
    summary = area_over_seeds(seeds, low=10.0, high=40.0)
    assert summary.areas == pytest.approx((0.5, 0.7, 0.9))
    assert summary.mean == pytest.approx(0.7)
    assert summary.standard_error == pytest.approx(0.2 / math.sqrt(3))
    assert summary.interval is not None
    assert 0.5 <= summary.interval[0] < 0.7 < summary.interval[1] <= 0.9
    assert area_over_seeds(seeds, low=10.0, high=40.0) == summary


def test_of_one_seed_nothing_is_known_of_the_error() -> None:
    summary = area_over_seeds([[(10, 0.5), (40, 0.5)]], low=10.0, high=40.0)
    assert (summary.mean, summary.standard_error, summary.interval) == (0.5, None, None)


def test_a_seed_that_does_not_cover_the_range_is_not_passed_over() -> None:
    with pytest.raises(UncoveredRange):
        area_over_seeds([[(10, 0.5), (40, 0.5)], [(12, 0.5), (40, 0.5)]], low=10.0, high=40.0)


def test_the_common_range_is_what_every_seed_of_every_family_covers() -> None:
    families = {
        "relu": [[(5, 0.1), (90, 0.9)], [(7, 0.1), (100, 0.9)]],
        "prolu": [[(6, 0.1), (80, 0.9)], [(4, 0.1), (85, 0.9)]],
    }
    assert common_range(families) == (7, 80)


def test_families_that_are_apart_are_named() -> None:
    with pytest.raises(UncoveredRange, match="topk begins at 50, where relu has ended at 40"):
        common_range({"relu": [[(5, 0.1), (40, 0.9)]], "topk": [[(50, 0.1), (90, 0.9)]]})


def test_two_frontiers_that_cross_are_compared_at_equal_l0() -> None:
    # In log l0 one line rises from 0.4 to 0.8, the other from 0.5 to 0.6: they cross after a third of the way.
    found = difference([(10, 0.4), (1_000, 0.8)], [(10, 0.5), (1_000, 0.6)], low=10.0, high=1_000.0)
    assert (found.mean, found.least, found.most) == pytest.approx((0.05, -0.1, 0.2))
    assert found.share_better == pytest.approx(2 / 3)


def test_a_lower_fvu_is_better_by_a_number_above_zero() -> None:
    found = difference([(10, 0.3), (100, 0.1)], [(10, 0.4), (100, 0.3)], low=10.0, high=100.0, better="lower")
    assert (found.mean, found.least, found.most) == pytest.approx((0.15, 0.1, 0.2))
    assert found.share_better == 1


@given(POINTS, POINTS)
def test_a_difference_is_that_of_the_areas_and_changes_sign_with_the_sides(one: Points, other: Points) -> None:
    low, high = common_range({"one": [one], "other": [other]})
    there, back = difference(one, other, low=low, high=high), difference(other, one, low=low, high=high)
    areas = [area_under_frontier(points, low=low, high=high) for points in (one, other)]
    assert there.mean == pytest.approx(areas[0] - areas[1], abs=1e-9)
    assert (there.mean, there.least, there.most) == pytest.approx((-back.mean, -back.most, -back.least))
    assert there.least - 1e-12 <= there.mean <= there.most + 1e-12
    assert 0 <= there.share_better <= 1 - back.share_better + 1e-9


def test_a_frontier_is_nowhere_better_than_itself() -> None:
    points = [(10, 0.4), (30, 0.7), (90, 0.8)]
    found = difference(points, points, low=10.0, high=90.0)
    assert (found.mean, found.least, found.most, found.share_better) == (0, 0, 0, 0)


def test_two_frontiers_are_compared_only_where_both_reach() -> None:
    with pytest.raises(UncoveredRange, match="not over 10 to 500"):
        difference([(10, 0.4), (1_000, 0.8)], [(10, 0.5), (100, 0.6)], low=10.0, high=500.0)
