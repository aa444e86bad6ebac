"""Which failures are tried again, after how long, and how often."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prolu.spec.report import FailureClass
from service.domain.retries import (
    COSTLY,
    FREE,
    FREE_RETRY_CAP,
    RETRY_BUDGET,
    SLOW,
    Ended,
    Verdict,
    decide,
    free_pause_seconds,
    pause_seconds,
)


def history(failure_class: FailureClass, times: int, node: str | None = "n") -> list[Ended]:
    return [Ended(failure_class, node)] * times


@pytest.mark.parametrize("failure_class", sorted(FREE))
def test_what_is_nobodys_fault_is_requeued_at_once_the_first_time(failure_class: FailureClass) -> None:
    assert decide(history(failure_class, 1), jitter=0.5) == Verdict("requeue", 0.0, f"{failure_class} costs no retry")


@pytest.mark.parametrize("failure_class", sorted(FREE))
def test_what_is_nobodys_fault_waits_longer_each_further_time_up_to_a_cap(failure_class: FailureClass) -> None:
    verdicts = [decide(history(failure_class, times), jitter=0.5) for times in range(2, FREE_RETRY_CAP + 1)]
    assert {verdict.move for verdict in verdicts} == {"back_off"}
    assert [verdict.pause_seconds for verdict in verdicts[:7]] == [1, 2, 4, 8, 16, 30, 30]
    assert sum(verdict.pause_seconds for verdict in verdicts) > 300  # an outage of minutes does not spend them all
    assert decide(history(failure_class, FREE_RETRY_CAP + 1), jitter=0.5).move == "fail"


@pytest.mark.parametrize("failure_class", sorted(SLOW))
def test_what_did_not_come_up_in_time_is_free_but_never_tried_at_once(failure_class: FailureClass) -> None:
    verdicts = [decide(history(failure_class, times, None), jitter=0.5) for times in range(1, FREE_RETRY_CAP + 1)]
    assert {verdict.move for verdict in verdicts} == {"back_off"}
    assert [verdict.pause_seconds for verdict in verdicts[:7]] == [15, 30, 60, 120, 240, 480, 600]
    assert sum(verdict.pause_seconds for verdict in verdicts) > 2 * 3600
    assert verdicts[0].reason == "not_started costs no retry; loss 1 without blame, again in 15 s"
    mixed = [*history("preempted", 19), *history(failure_class, 1, None)]
    assert decide(mixed, jitter=0.5).pause_seconds == 15
    assert decide([*mixed, *history(failure_class, 1)], jitter=0.5).move == "fail"


def test_a_run_that_comes_up_but_does_not_begin_on_three_nodes_is_to_blame() -> None:
    assert decide([Ended("not_started", name) for name in "abc"], jitter=0.5).move == "fail"
    assert decide([Ended("not_started", None)] * 3, jitter=0.5).move == "back_off"


def test_free_losses_of_all_classes_share_one_rising_pause() -> None:
    past = [Ended("node_lost", "a"), Ended("storage", "a"), Ended("ray_infra", "b"), Ended("bad_checkpoint", "c")]
    assert decide(past, jitter=0.5).pause_seconds == 2


def test_bad_checkpoints_on_three_nodes_do_not_blame_the_run() -> None:
    three = [Ended("bad_checkpoint", "a"), Ended("bad_checkpoint", "b"), Ended("bad_checkpoint", "c")]
    assert decide(three, jitter=0.5).move == "back_off"


@pytest.mark.parametrize("failure_class", sorted(COSTLY))
def test_what_may_pass_is_tried_again_until_the_budget_is_spent(failure_class: FailureClass) -> None:
    assert decide(history(failure_class, RETRY_BUDGET), jitter=0.5).move == "back_off"
    assert decide(history(failure_class, RETRY_BUDGET + 1), jitter=0.5).move == "fail"


@pytest.mark.parametrize("failure_class", sorted(set(get_args(FailureClass)) - FREE - SLOW - COSTLY))
def test_what_would_happen_again_is_not_tried_again(failure_class: FailureClass) -> None:
    verdict = decide(history(failure_class, 1), jitter=0.5)
    assert verdict.move == "fail"
    assert failure_class in verdict.reason


def test_nodes_that_died_before_the_run_had_got_further_say_nothing_of_it() -> None:
    weeks = [
        Ended("not_started", "a", step=150),
        Ended("not_started", "b", step=950, began_at_step=100),
        Ended("not_started", "c", step=990, began_at_step=900),
    ]
    assert decide(weeks[:2], jitter=0.5).move == "back_off"
    assert decide(weeks, jitter=0.5).move == "back_off", "at b and c alone it died beyond step 900"
    stuck = [*weeks, Ended("not_started", "d", step=990, began_at_step=900)]
    assert decide(stuck, jitter=0.5).reason == "not_started on 3 different nodes: the run is the cause, not a node"


def test_free_losses_do_not_spend_the_budget() -> None:
    past = [*history("node_lost", 10), *history("storage", RETRY_BUDGET - 1), Ended("storage", None)]
    assert decide(past, jitter=0.5).move == "back_off"


def test_costly_failures_of_all_classes_share_one_budget() -> None:
    past = [Ended("storage", "a"), Ended("host_oom", "b"), Ended("lease_expired", "c"), Ended("storage", "d")]
    assert decide(past, jitter=0.5).move == "fail"


def test_one_machine_that_was_started_three_times_is_one_node() -> None:
    three = [Ended("storage", f"10.0.0.1/{start}") for start in ("aaaa", "bbbb", "cccc")]
    assert decide(three, jitter=0.5).move == "back_off"
    assert (
        decide([*three[:1], Ended("storage", "10.0.0.2/a"), Ended("storage", "10.0.0.3/a")], jitter=0.5).move == "fail"
    )


def test_who_is_preempted_on_three_nodes_is_not_to_blame() -> None:
    three = [Ended("preempted", "a"), Ended("preempted", "b"), Ended("preempted", "c")]
    assert decide(three, jitter=0.5).move == "back_off"


def test_one_class_on_three_nodes_blames_the_run() -> None:
    three = [Ended("host_oom", "a"), Ended("host_oom", "b"), Ended("host_oom", "c")]
    assert decide(three, jitter=0.5).move == "fail"
    assert decide([*three[:2], Ended("host_oom", "a")], jitter=0.5).move == "back_off"
    assert decide([*three[:2], Ended("host_oom", None)], jitter=0.5).move == "back_off"
    assert decide([*three[:2], Ended("storage", "c")], jitter=0.5).move == "back_off"


def test_machines_that_are_lost_one_after_another_are_not_the_runs_doing() -> None:
    three = [Ended("node_lost", name, step=500) for name in "abc"]
    assert decide(three, jitter=0.5).move == "back_off"


def test_only_a_process_that_was_seen_dying_on_three_nodes_blames_the_run() -> None:
    died = [Ended("ray_infra", name, process_died=True) for name in "abc"]
    assert decide(died, jitter=0.5).move == "fail"
    with_the_head = [*died[:2], Ended("ray_infra", "c")]
    assert decide(with_the_head, jitter=0.5).move == "back_off"


def test_pauses_double_from_15_seconds_to_10_minutes() -> None:
    assert [pause_seconds(n, jitter=0.5) for n in range(8)] == [15, 30, 60, 120, 240, 480, 600, 600]


@given(n=st.integers(0, 10_000), jitter=st.floats(0, 1, exclude_max=True))
def test_a_pause_is_within_a_fifth_of_its_middle_and_never_above_10_minutes(n: int, jitter: float) -> None:
    middle = 15 * 2.0 ** min(n, 30)
    pause = pause_seconds(n, jitter=jitter)
    assert pause <= 600
    assert min(600, 0.8 * middle) * (1 - 1e-9) <= pause <= 1.2 * middle * (1 + 1e-9)


@given(n=st.integers(0, 10_000), jitter=st.floats(0, 1, exclude_max=True))
def test_a_free_pause_is_within_a_fifth_of_its_middle_and_never_above_half_a_minute(n: int, jitter: float) -> None:
    middle = 2.0 ** min(n, 30)
    pause = free_pause_seconds(n, jitter=jitter)
    assert min(30, 0.8 * middle) * (1 - 1e-9) <= pause <= min(30, 1.2 * middle) * (1 + 1e-9)
