"""Whom nobody betters: cases by hand, and the definition itself beside the quick way."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prolu.spec.pareto import Goal, pareto

Points = list[tuple[float, float]]


@pytest.mark.parametrize(
    ("points", "y", "kept"),
    [
        ([(10, 0.4), (30, 0.2)], "lower", [0, 1]),
        ([(10, 0.4), (30, 0.5)], "lower", [0]),
        ([(10, 0.4), (30, 0.5)], "higher", [0, 1]),
        ([(10, 0.4), (10, 0.3)], "lower", [1]),
        ([(30, 0.2), (10, 0.4), (20, 0.4)], "lower", [1, 0]),
        ([(10, 0.4), (20, 0.3), (10, 0.4)], "lower", [0, 2, 1]),
        ([], "higher", []),
    ],
)
def test_a_frontier_is_what_nothing_betters_and_equals_stay_together(points: Points, y: Goal, kept: list[int]) -> None:
    assert pareto(points, y=y) == kept


def betters(one: tuple[float, float], other: tuple[float, float], goals: tuple[Goal, Goal]) -> bool:
    """The definition."""
    better = [a < b if goal == "lower" else a > b for a, b, goal in zip(one, other, goals, strict=True)]
    equal = [a == b for a, b in zip(one, other, strict=True)]
    return any(better) and all(is_better or is_equal for is_better, is_equal in zip(better, equal, strict=True))


few_numbers = st.integers(0, 6).map(float)


@given(st.lists(st.tuples(few_numbers, few_numbers), max_size=25))
def test_the_quick_way_finds_what_the_definition_says_for_every_pair_of_goals(points: Points) -> None:
    both: tuple[Goal, Goal] = ("lower", "higher")
    for x, y in product(both, both):
        kept = pareto(points, x=x, y=y)
        assert {*kept} == {
            index for index, one in enumerate(points) if not any(betters(other, one, (x, y)) for other in points)
        }
        best_first = [points[index][0] for index in kept]
        assert best_first == sorted(best_first, reverse=x == "higher")
