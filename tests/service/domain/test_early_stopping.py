"""Early stopping: hand-worked rungs and medians, and that the best run is never stopped."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prolu.spec import Asha, Median
from service.domain.early_stopping import Verdict, compare, halve, rung_of

VALUES = st.floats(-1e6, 1e6, allow_nan=False)
GOALS = st.sampled_from(["minimize", "maximize"])


def asha(**changes: Any) -> Asha:
    return Asha.model_validate({"metric": "l0", "goal": "minimize", "min_steps": 10, "reduction_factor": 3, **changes})


def median(**changes: Any) -> Median:
    return Median.model_validate({"metric": "l0", "goal": "minimize", "min_runs": 1, **changes})


@pytest.mark.parametrize(
    ("step", "last", "rung"),
    [
        (9, None, None),
        (10, None, 0),
        (29, None, 0),
        (29, 0, None),
        (30, 0, 1),
        (95, 0, 2),
        (95, None, 2),
        (95, 2, None),
    ],
)
def test_a_run_comes_to_a_rung_with_its_first_point_there_and_to_the_highest_of_several(
    step: int, last: int | None, rung: int | None
) -> None:
    assert rung_of(asha(), step, last) == rung


def in_turn(rule: Asha, values: list[float]) -> list[bool]:
    """Who of those that come to a rung one after another is stopped."""
    return [halve(rule, rung=0, step=10, value=value, others=values[:index]).stop for index, value in enumerate(values)]


def test_of_those_that_have_come_the_best_third_goes_on_and_the_first_one_always_does() -> None:
    #  n = 1, 2: one goes on; n = 3, 4, 5: one; n = 6: two, so that 2.5 passes behind 2.0
    assert in_turn(asha(), [5.0, 6.0, 4.0, 4.5, 2.0, 2.5]) == [False, True, False, True, False, False]
    assert in_turn(asha(goal="maximize"), [5.0, 6.0, 4.0]) == [False, False, True]


def test_the_reason_says_what_was_needed() -> None:
    verdict = halve(asha(), rung=1, step=30, value=7.0, others=[5.0, 6.0])
    assert verdict == Verdict(
        True, "Stopped early by asha: l0 7 at step 30 (rung 1); the best 1 of 3 runs there go on, and need 5.", 5.0, 2
    )


@given(values=st.lists(VALUES, min_size=1, max_size=30), goal=GOALS, factor=st.integers(2, 5))
def test_halving_never_stops_the_best_that_has_come_nor_one_that_equals_it(
    values: list[float], goal: str, factor: int
) -> None:
    rule = asha(goal=goal, reduction_factor=factor)
    pick = min if goal == "minimize" else max
    for index, stopped in enumerate(in_turn(rule, values)):
        if values[index] == pick(values[: index + 1]):
            assert not stopped


@given(values=st.lists(VALUES, min_size=1, max_size=30), goal=GOALS, factor=st.integers(2, 5))
def test_halving_stops_enough_whoever_comes_last(values: list[float], goal: str, factor: int) -> None:
    rule = asha(goal=goal, reduction_factor=factor)
    going_on = [
        value
        for index, value in enumerate(values)
        if not halve(rule, rung=0, step=10, value=value, others=[*values[:index], *values[index + 1 :]]).stop
    ]
    places = max(1, len(values) // factor)
    assert len(set(going_on)) <= places <= max(places, len(going_on))


@given(values=st.lists(VALUES, min_size=2, max_size=12), value=VALUES)
def test_the_order_in_which_the_others_came_decides_nothing(values: list[float], value: float) -> None:
    there = halve(asha(), rung=0, step=10, value=value, others=values)
    assert halve(asha(), rung=0, step=10, value=value, others=sorted(values)) == there


def test_the_median_rule_compares_the_best_so_far_with_the_median_of_means() -> None:
    others = [4.0, 5.0, 9.0]
    assert not compare(median(), step=20, values=[9.0, 5.0], others=others).stop
    worse = compare(median(), step=20, values=[9.0, 5.1, 7.0], others=others)
    assert (worse.stop, worse.bound, worse.others) == (True, 5.0, 3)
    assert worse.reason == (
        "Stopped early by the median rule: its best l0 up to step 20 is 5.1; "
        "the median of the means of 3 runs up to there is 5."
    )


def test_the_median_rule_waits_for_its_first_step_and_for_enough_runs() -> None:
    assert not compare(median(min_steps=21), step=20, values=[9.0], others=[1.0]).stop
    assert not compare(median(min_runs=3), step=20, values=[9.0], others=[1.0, 1.0]).stop
    assert compare(median(min_runs=2, goal="maximize"), step=20, values=[0.5], others=[1.0, 1.0]).stop


@given(
    runs=st.lists(st.lists(VALUES, min_size=3, max_size=3), min_size=2, max_size=12),
    goal=GOALS,
    step=st.integers(1, 3),
)
def test_the_median_rule_never_stops_the_run_that_has_the_best_value(
    runs: list[list[float]], goal: str, step: int
) -> None:
    pick = min if goal == "minimize" else max
    bests = [pick(values[:step]) for values in runs]
    best = bests.index(pick(bests))
    # What a mean gains by rounding is no reason.
    others = [
        min(max(sum(values[:step]) / step, min(values[:step])), max(values[:step]))
        for index, values in enumerate(runs)
        if index != best
    ]
    assert not compare(median(goal=goal), step=step, values=runs[best][:step], others=others).stop
