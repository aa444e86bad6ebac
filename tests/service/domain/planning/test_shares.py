"""Usage and shares: worked by hand, and against the integral that the formula claims to be."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.planning.shares import charge_per_second, decayed, decayed_charge, fair, shares

WEEK = 7 * 24 * 3600.0


def test_a_gpu_costs_as_much_as_thirty_two_cores() -> None:
    assert charge_per_second(cpus=32, gpus=0) == charge_per_second(cpus=0, gpus=1) == 1


def test_usage_counts_half_after_a_half_life() -> None:
    assert decayed(100.0, seconds=WEEK, half_life_seconds=WEEK) == 50
    assert decayed(100.0, seconds=0, half_life_seconds=WEEK) == 100


@settings(deadline=None)
@given(st.floats(0, 3e6), st.floats(0, 3e6))
def test_what_a_run_took_is_the_decayed_sum_of_its_seconds(one: float, other: float) -> None:
    began, ended = max(one, other), min(one, other)
    width = (began - ended) / 2000
    summed = math.fsum(
        width * decayed(2.0, seconds=ended + (k + 0.5) * width, half_life_seconds=WEEK) for k in range(2000)
    )
    assert decayed_charge(2.0, began=began, ended=ended, half_life_seconds=WEEK) == pytest.approx(
        summed, rel=1e-5, abs=1e-6
    )


def test_who_had_nothing_stands_at_one_and_who_had_their_share_at_a_half() -> None:
    found = shares({"ada": 30.0, "bob": 10.0}, {"ada": 3.0, "bob": 1.0, "eve": 4.0})
    assert (found["ada"].usage_share, found["ada"].target_share) == (0.75, 0.375)
    assert found["ada"].fair == 0.25
    assert found["eve"].fair == 1
    assert fair(0.5, 0.5) == 0.5


def test_an_unused_cluster_is_fair_to_all() -> None:
    assert {one.fair for one in shares({}, {"ada": 1.0, "bob": 5.0}).values()} == {1.0}


def test_the_usage_of_who_is_not_active_counts_for_nobody() -> None:
    assert shares({"ada": 1.0, "gone": 1e9}, {"ada": 1.0})["ada"].usage_share == 1
