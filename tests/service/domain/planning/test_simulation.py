"""Promises of the plan that show only over time: shares come to their targets, nobody starves, preemption does not go round."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.domain.planning import Node, Policy
from tests.service.domain.planning.simulation import Job, Lab

HOUR = 3600.0
TWO_NODES = [Node("a", 4, 0, 64.0), Node("b", 4, 0, 64.0)]


def insatiable(lab: Lab, owner: str, backlog: int, needs: float, **more: object) -> None:
    """A user who always has `backlog` runs more than the cluster takes."""
    inner = lab.refill

    def refill(job: Job) -> None:
        if job.candidate.owner == owner:
            lab.submit(owner, needs, **more)
        inner(job)

    lab.refill = refill
    for _ in range(backlog):
        lab.submit(owner, needs, **more)


@pytest.mark.parametrize("weights", [{"ada": 1.0, "bob": 1.0}, {"ada": 1.0, "bob": 2.0, "cyd": 5.0}])
def test_what_users_get_comes_to_their_shares(weights: dict[str, float]) -> None:
    lab = Lab(TWO_NODES, weights=weights)
    for index, user in enumerate(weights):
        insatiable(lab, user, 20, (1 + index) * 900.0)
    lab.play(80 * HOUR)
    total = sum(lab.took.values())
    for user, weight in weights.items():
        assert lab.took[user] / total == pytest.approx(weight / sum(weights.values()), abs=0.04), user


def test_who_comes_late_catches_up_and_then_shares() -> None:
    lab = Lab(TWO_NODES)
    insatiable(lab, "ada", 20, 1800.0)
    lab.play(24 * HOUR)
    insatiable(lab, "bob", 20, 1800.0)
    before = dict(lab.took)
    lab.play(34 * HOUR)
    recent = {user: lab.took[user] - before.get(user, 0.0) for user in ("ada", "bob")}
    assert recent["bob"] > 2 * recent["ada"], "who had nothing goes first"
    lab.play(150 * HOUR)
    middle = dict(lab.took)
    lab.play(200 * HOUR)
    late = {user: lab.took[user] - middle[user] for user in ("ada", "bob")}
    assert late["bob"] / sum(late.values()) == pytest.approx(0.5, abs=0.08)


def test_a_sweep_of_five_hundred_points_does_not_slip_in_before_a_colleague() -> None:
    lab = Lab(TWO_NODES)
    for _ in range(500):
        lab.submit("ada", 600.0)
    job = lab.submit("bob", 600.0)
    lab.play(1.0)
    assert job.first_start == 0.0


def test_a_gang_is_not_starved_by_a_flood_of_small_runs() -> None:
    lab = Lab([Node("a", 4, 2, 64.0), Node("b", 4, 2, 64.0)])
    insatiable(lab, "ada", 40, 600.0, gpus=0.5)
    lab.play(2 * HOUR)
    gang = lab.submit("ada", 600.0, gpus=1.0, ranks=4)
    lab.play(60 * HOUR)
    assert gang.wait < 26 * HOUR, "age alone lifts it above the flood within a day, and then room is held for it"


@given(st.randoms(use_true_random=False))
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_short_runs_use_the_room_of_a_gang_and_delay_it_by_little(chance: random.Random) -> None:
    """While one run without a limit trains, the others' GPUs work; once it has ended, all ends are known and come soon."""
    lab = Lab([Node("a", 64, 8, 64.0)])
    lab.submit("ada", 2 * HOUR, gpus=1.0)
    lab.play(1.0)
    gang = lab.submit("ada", 600.0, gpus=1.0, ranks=8, priority=100, tier=1)
    limit = chance.uniform(60, 900)
    insatiable(lab, "bob", 20, chance.uniform(0.5, 1.0) * limit, gpus=1.0, limit_seconds=limit)
    lab.play(HOUR)
    assert len(lab.live) == 8
    lab.play(4 * HOUR)
    assert gang.first_start is not None
    assert gang.first_start <= 2 * HOUR + 900.0 + lab.policy.stop_grace_seconds


@given(st.randoms(use_true_random=False))
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_nobody_starves_whatever_is_submitted(chance: random.Random) -> None:
    lab = Lab(TWO_NODES)
    for user in ("ada", "bob"):
        insatiable(
            lab, user, 10, chance.uniform(300, 3000), priority=chance.randint(60, 100), cpus=chance.randint(1, 2)
        )
    lab.play(3 * HOUR)
    poor = lab.submit("cyd", 600.0, priority=0, cpus=chance.randint(1, 4))
    greedy = lab.submit("ada", 600.0, priority=0, cpus=chance.randint(1, 4))
    lab.play(60 * HOUR)
    assert poor.wait < 6 * HOUR, "who had nothing waits for the next ends only"
    assert greedy.wait < 48 * HOUR, "and who had much waits for the age to count in full"


@given(st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_preemption_comes_to_an_end_and_everything_finishes(chance: random.Random) -> None:
    """Each plan is made again until it preempts nobody: a cycle would not end. And nobody is pushed about for ever."""
    lab = Lab(TWO_NODES, policy=Policy(min_run_seconds=60.0))
    jobs = []
    for burst in range(4):
        jobs += [
            lab.submit(
                chance.choice("abc"),
                chance.uniform(100, 5000),
                cpus=chance.randint(1, 4),
                priority=chance.choice([0, 50, 100]),
                tier=chance.choice([-1, 0, 0, 1]),
                preemptible=chance.random() < 0.7,
            )
            for _ in range(chance.randint(2, 10))
        ]
        lab.play((burst + 1) * 1000.0)
    lab.play(10_000_000.0)
    assert all(job.done_at is not None for job in jobs)
    assert lab.plans < 40 * len(jobs)
    assert max(job.preempted for job in jobs) <= len(jobs)


@given(st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_cluster_never_idles_while_something_fits(chance: random.Random) -> None:
    """With runs of one core nothing is ever held back for another: all cores work while anything waits."""
    lab = Lab(TWO_NODES)
    for _ in range(chance.randint(9, 40)):
        lab.submit(chance.choice("abc"), chance.uniform(10, 1000), priority=chance.randint(0, 100))
    while lab.waiting:
        assert len(lab.live) in (0, 8)
        lab.play(lab.now + 50.0)
        assert not lab.waiting or len(lab.live) == 8
