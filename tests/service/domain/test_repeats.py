"""Runs that differ in their seed alone are one row, and what they say together has an error."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.repeats import RESAMPLES, by_seed, estimate, estimates


@dataclass(frozen=True)
class Run:
    point: int
    variant: str | None = None
    set: dict[str, Any] = field(default_factory=dict)


def run(point: int, variant: str | None = None, **settings: Any) -> Run:
    return Run(point, variant, {name.replace("__", "."): value for name, value in settings.items()})


VALUES = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=12)


def test_runs_that_differ_in_their_seed_alone_are_one_group() -> None:
    runs = [
        run(0, "a", sparsity__coefficient=0.1, training__seed=7),
        run(1, "a", sparsity__coefficient=0.1, training__seed=3),
        run(2, "a", sparsity__coefficient=0.2, training__seed=7),
        run(3, "b", sparsity__coefficient=0.1, training__seed=7),
    ]
    groups = by_seed(runs)
    assert [[one.point for one in group.runs] for group in groups] == [[0, 1], [2], [3]]
    assert (groups[0].variant, groups[0].set, groups[0].seeds) == ("a", {"sparsity.coefficient": 0.1}, [7, 3])


def test_members_of_a_group_need_not_stand_beside_each_other() -> None:
    runs = [run(seed * 2 + width, training__seed=seed, sae__d_sae=width) for seed in (0, 1) for width in (0, 1)]
    groups = by_seed(runs[::-1])
    assert [[one.point for one in group.runs] for group in groups] == [[0, 2], [1, 3]]
    assert [group.point for group in groups] == [0, 1]


def test_without_seeds_every_run_is_a_group_by_itself() -> None:
    groups = by_seed([run(0, sae__d_sae=8), run(1, sae__d_sae=9)])
    assert [(group.set, group.seeds) for group in groups] == [({"sae.d_sae": 8}, []), ({"sae.d_sae": 9}, [])]


def test_a_number_and_the_same_number_as_text_are_different_settings() -> None:
    assert len(by_seed([run(0, x=1), run(1, x="1"), run(2, x=[1])])) == 3


def test_mean_and_standard_error_of_a_case_worked_by_hand() -> None:
    found = estimate([1.0, 2.0, 6.0])
    assert found.mean == 3.0
    assert found.standard_error == pytest.approx(math.sqrt(((1 - 3) ** 2 + (2 - 3) ** 2 + (6 - 3) ** 2) / 2 / 3))
    assert found.n == 3


def test_of_two_values_the_interval_is_their_range() -> None:
    # A resample of two is one value twice with probability 1/4 each: more than the 2.5 % beyond either quantile.
    assert estimate([4.0, 1.0]).interval == (1.0, 4.0)


def test_of_one_value_nothing_is_known_of_the_error() -> None:
    found = estimate([5.0])
    assert (found.mean, found.standard_error, found.interval, found.n) == (5.0, None, None, 1)


def test_of_no_value_there_is_no_estimate() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        estimate([])


@given(VALUES)
@settings(max_examples=30, deadline=None)
def test_the_interval_is_numpys_quantile_of_the_means_of_the_same_resamples(values: list[float]) -> None:
    dice = random.Random(0)  # noqa: S311 - the resamples that the service draws
    n = len(values)
    means = [np.mean([values[index] for index in dice.choices(range(n), k=n)]) for _ in range(RESAMPLES)]
    assert estimate(values).interval == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), rel=1e-9, abs=1e-6)


@given(VALUES)
@settings(max_examples=30, deadline=None)
def test_the_interval_lies_within_the_values_and_is_the_same_every_time(values: list[float]) -> None:
    found = estimate(values)
    assert found.interval is not None
    low, high = found.interval
    slack = 1e-9 * max(1.0, *map(abs, values))
    assert min(values) - slack <= low <= high <= max(values) + slack
    assert estimate(values) == found


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    dice = np.random.default_rng(1)
    trials = 200
    covered = 0
    for _ in range(trials):
        interval = estimate(dice.normal(3.0, 1.0, size=25).tolist()).interval
        assert interval is not None
        covered += interval[0] <= 3.0 <= interval[1]
    assert 0.88 <= covered / trials <= 0.99


def test_every_number_is_estimated_over_those_that_have_it() -> None:
    found = estimates([{"l0": 1.0, "fvu": 0.5}, {"l0": 3.0}])
    assert (found["l0"].mean, found["l0"].n) == (2.0, 2)
    assert (found["fvu"].mean, found["fvu"].n) == (0.5, 1)
    assert estimates([]) == {}
