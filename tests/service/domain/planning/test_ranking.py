"""The order of the queue: each part of the score by hand, and the entry charge."""

from __future__ import annotations

import random
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.planning.plan import Candidate
from service.domain.planning.ranking import Line, Score, Weights, ranked
from service.domain.planning.shares import shares
from tests.service.domain.planning.build import NOW, order, planned, waits


def test_the_score_is_the_formula_of_the_docstring() -> None:
    runs = [waits(1, "ada", hours=6, priority=80, gpus=1), waits(2, "bob", priority=100, gpus=1)]
    first, second = ranked(
        Line(runs, now=NOW, by=Weights()),
        usage={"ada": 100.0, "bob": 300.0},
        weights={"ada": 1.0, "bob": 1.0},
        by=Weights(),
    )
    # ada: 800 + 2000 * 2^-(0.25 / 0.5) + 1000 * 6 / 24
    assert first.run.run_id == UUID(int=1)
    assert (first.score.priority, first.score.fair, first.score.age) == (800, 2000 * 2**-0.5, 250)
    # bob: after the entry charge of ada's run, 100 + 900 * (1 + 1 / 32) GPU-seconds
    assert second.score.fair == 2000 * 2 ** -(300 / (400 + 900 * 33 / 32) / 0.5)
    assert second.score.total == 1000 + second.score.fair


def test_a_tier_goes_before_any_score() -> None:
    assert order(planned([waits(1, hours=999, priority=100), waits(2, tier=1, priority=0)])) == [2, 1]


def test_equals_keep_the_order_in_which_they_came() -> None:
    assert order(planned([waits(3), waits(1, hours=-1), waits(2)])) == [2, 3, 1]


def test_a_wait_counts_no_more_after_a_day() -> None:
    line = Line([waits(1, hours=168), waits(2, hours=24)], now=NOW, by=Weights())
    week, day = (run.score.age for run in ranked(line, usage={}, weights={"ada": 1.0}, by=Weights()))
    assert week == day == 1000


def test_an_old_run_goes_before_the_urgent_ones_that_its_own_user_goes_on_submitting() -> None:
    old, urgent = waits(1, hours=25, priority=0), waits(2, hours=0, priority=100)
    assert order(planned([urgent, old])) == [1, 2]
    assert order(planned([urgent, waits(1, hours=23, priority=0)])) == [2, 1]


def test_an_old_flood_does_not_go_before_a_colleague() -> None:
    flood = [waits(number, "ada", hours=999) for number in range(1, 101)]
    assert order(planned([*flood, waits(200, "bob", hours=1)], usage={"ada": 1e6}))[0] == 200


def test_five_hundred_points_of_one_user_do_not_slip_in_before_another_s_ten() -> None:
    sweep = [waits(number, "ada", hours=0.1) for number in range(1, 501)]
    late = [waits(number, "bob") for number in range(501, 511)]
    first_twenty = order(planned(sweep + late))[:22]
    assert sum(number > 500 for number in first_twenty) == 10


def test_who_has_twice_the_weight_gets_twice_the_places() -> None:
    runs = [waits(number, "ada") for number in range(1, 301)] + [waits(number, "bob") for number in range(301, 601)]
    places = order(planned(runs, weights={"ada": 2.0, "bob": 1.0}))[:300]
    assert abs(sum(number <= 300 for number in places) - 200) <= 2


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 100), st.integers(0, 48), st.integers(0, 2)), max_size=40)
)
def test_every_run_has_one_place_and_tiers_fall(drawn: list[tuple[str, int, int, int]]) -> None:
    runs = [
        waits(number, owner, hours=hours, priority=priority, tier=tier)
        for number, (owner, priority, hours, tier) in enumerate(drawn)
    ]
    line = Line(runs, now=NOW, by=Weights())
    found = list(ranked(line, usage={"a": 5.0}, weights=dict.fromkeys("abc", 1.0), by=Weights()))
    assert sorted(one.run.run_id.int for one in found) == list(range(len(runs)))
    assert [one.run.tier for one in found] == sorted((run.tier for run in runs), reverse=True)
    assert all(one.run.waiting_since <= NOW + timedelta(0) for one in found)


def days(run: Candidate) -> float:
    return (NOW - run.waiting_since).total_seconds() / 86_400


def firsts(left: list[Candidate], used: dict[str, float], weights: dict[str, float]) -> dict[str, tuple[UUID, Score]]:
    """By the order's definition: each user's first run, scored anew."""
    standing, found = shares(used, weights), {}
    for user in {run.owner for run in left}:
        own = [run for run in left if run.owner == user]
        first = min(own, key=lambda run: (-run.tier, -(10.0 * run.priority + 1000 * days(run)), run.run_id))
        fair = 2000 * standing[user].fair
        found[user] = first.run_id, Score(first.tier, 10.0 * first.priority, fair, 1000 * min(days(first), 1.0))
    return found


@settings(deadline=None, max_examples=25)
@given(st.randoms(use_true_random=False), st.integers(1, 12), st.sampled_from([0.0, 1e3, 1e5, 1e7]))
def test_the_order_is_the_one_that_scoring_everybody_before_each_place_gives(
    chance: random.Random, users: int, used: float
) -> None:
    names = [f"u{number}" for number in range(users)]
    runs = [
        waits(
            number,
            chance.choice(names),
            hours=chance.uniform(0, 40),
            priority=chance.choice([0, 50, 100]),
            tier=chance.choice([0, 0, 0, 1]),
            gpus=chance.choice([0, 0.25, 1, 8]),
        )
        for number in range(60)
    ]
    usage = {name: used * chance.random() for name in names}
    weights = {name: chance.choice([1.0, 3.0]) for name in names}
    used, left = dict(usage), list(runs)
    for one in ranked(Line(runs, now=NOW, by=Weights()), usage=usage, weights=weights, by=Weights()):
        scored = firsts(left, used, weights)
        run_id, score = scored[one.run.owner]
        assert (one.run.run_id, one.score.tier) == (run_id, score.tier)
        assert one.score.total == pytest.approx(score.total, abs=1e-6)
        tier, best = max((each.tier, each.total) for _, each in scored.values())
        assert (score.tier, score.total) >= (tier, best - 1e-6), (
            "whose scores differ by less are equal but for rounding"
        )
        left.remove(one.run)
        used[one.run.owner] = used.get(one.run.owner, 0.0) + 900 * one.run.charge_per_second
    assert left == []
