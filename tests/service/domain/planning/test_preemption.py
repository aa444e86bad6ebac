"""Preemption: whom it may hit, how few, and that it ends."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from service.domain.planning.plan import Plan
from tests.service.domain.planning.build import NOW, SWEEP, node, planned, trains, waits

FULL = [node("a", cpus=64, gpus=4)]


def hog(*, owner: str = "bob", preemptible: bool = True, **more: float) -> list:
    return [
        trains(number, owner, gpus=1, preemptible=preemptible, ran_seconds=1000.0, **more)
        for number in (10, 11, 12, 13)
    ]


def victims(found: Plan) -> list[int]:
    return [one.run_id.int for one in found.preemptions]


def test_a_user_with_nothing_gets_room_from_one_with_everything() -> None:
    found = planned([waits(1, "ada", gpus=1)], hog(), FULL, usage={"bob": 1e4})
    assert len(victims(found)) == 1
    assert found.preemptions[0].beneficiary == UUID(int=1)
    assert "makes room for run" in found.preemptions[0].reason


def test_nothing_is_preempted_that_did_not_agree_to_it_or_has_only_begun() -> None:
    assert victims(planned([waits(1, "ada", gpus=1)], hog(preemptible=False), FULL, usage={"bob": 1e4})) == []
    young = [trains(number, "bob", gpus=1, preemptible=True, ran_seconds=500.0) for number in (10, 11, 12, 13)]
    assert victims(planned([waits(1, "ada", gpus=1)], young, FULL, usage={"bob": 1e4})) == []


def test_nobody_is_made_poorer_than_the_one_who_receives() -> None:
    one_each = [
        trains(10, "ada", gpus=2, preemptible=True),
        trains(11, "bob", gpus=2, preemptible=True, ran_seconds=1e4),
    ]
    assert victims(planned([waits(1, "ada", gpus=2)], one_each, FULL, usage={"bob": 1e6})) == []


def test_a_user_does_not_preempt_their_own_runs() -> None:
    assert victims(planned([waits(1, "bob", gpus=1, priority=100)], hog(), FULL)) == []


def test_a_higher_tier_preempts_whoever_runs() -> None:
    assert len(victims(planned([waits(1, "bob", gpus=2, tier=1)], hog(), FULL))) == 2


def test_room_that_is_being_made_is_not_made_twice() -> None:
    stopping = [*hog()[1:], trains(10, "bob", gpus=1, preemptible=True, ran_seconds=1000.0, stopping=True)]
    assert victims(planned([waits(1, "ada", gpus=1)], stopping, FULL, usage={"bob": 1e4})) == []


def test_a_gang_gets_all_it_needs_or_nothing_is_stopped() -> None:
    assert len(victims(planned([waits(1, "ada", gpus=1, ranks=2)], hog(), FULL, usage={"bob": 1e4}))) == 2
    assert victims(planned([waits(1, "ada", gpus=1, ranks=3)], hog(), FULL, usage={"bob": 1e4})) == []


def test_those_stay_without_whom_the_run_fits_as_well() -> None:
    live = [
        trains(10, "bob", gpus=0.25, preemptible=True, ran_seconds=700.0),
        trains(11, "bob", gpus=1, preemptible=True, ran_seconds=800.0),
        trains(12, "bob", gpus=1, ran_seconds=800.0),
        trains(13, "bob", gpus=1, ran_seconds=800.0),
    ]
    assert victims(planned([waits(1, "ada", gpus=1)], live, FULL, usage={"bob": 1e4})) in ([10], [11])


def test_who_was_preempted_does_not_preempt_back() -> None:
    found = planned([waits(1, "ada", gpus=1)], hog(), FULL, usage={"bob": 1e4})
    (victim,) = victims(found)
    after = [one for one in hog() if one.run_id.int != victim]
    now_live = [*after, trains(1, "ada", gpus=1, preemptible=True, ran_seconds=1000.0)]
    assert victims(planned([waits(victim, "bob", gpus=1)], now_live, FULL, usage={"bob": 1e4, "ada": 1e3})) == []


def test_a_run_on_a_node_that_is_gone_makes_no_room_and_breaks_no_plan() -> None:
    lost = [trains(number, "bob", node="gone", preemptible=True, ran_seconds=3600) for number in (8, 9)]
    here = [trains(number, "bob", preemptible=True, ran_seconds=3600, cpus=2) for number in (6, 7)]
    found = planned([waits(1, "ada", cpus=4)], [*lost, *here])
    assert {one.run_id.int for one in found.preemptions} <= {6, 7}


def test_nobody_is_stopped_who_would_take_the_room_back_at_once() -> None:
    """Its age would put it first again, round after round."""
    old = NOW - timedelta(hours=24)
    live = [
        trains(number, "bob", preemptible=True, ran_seconds=3600, waiting_since=old, priority=90)
        for number in (6, 7, 8, 9)
    ]
    found = planned([waits(1, "ada")], live, usage={"bob": 60_000.0, "ada": 40_000.0})
    assert found.preemptions == []


def test_nobody_is_stopped_for_room_that_a_sibling_would_take() -> None:
    """The sweep is at its limit; its next run stands first, and stopping one of it would let that one in."""
    sibling = waits(20, "bob", hours=23, cpus=4, sweep_id=SWEEP, max_concurrent=1, priority=100)
    live = [
        trains(10, "bob", preemptible=True, ran_seconds=3600, cpus=4, sweep_id=SWEEP, max_concurrent=1, tier=-1),
    ]
    assert planned([sibling, waits(1, "ada", priority=0)], live, usage={"ada": 1e6}).preemptions == []


def test_a_run_that_only_a_draining_node_could_hold_keeps_no_other_waiting() -> None:
    nodes = [node("a"), node("big", cpus=64, draining=True)]
    found = planned([waits(1, cpus=32, hours=5), waits(2, cpus=4)], nodes=nodes)
    assert [decision.cause for decision in found.decisions] == ["draining", "starts"]
    assert found.decisions[0].reason == "only nodes that are draining could hold 32 CPUs and 1 GiB"


def test_a_run_at_the_head_that_cannot_be_helped_keeps_no_other_from_help() -> None:
    nodes = [node("x", cpus=64, gpus=8, gpu_type="H100"), node("y", cpus=64, gpus=1, gpu_type="A100")]
    live = [
        trains(10, "bob", node="x", gpus=1, ran_seconds=5000.0),
        trains(11, "bob", node="y", gpus=1, tier=-1, preemptible=True, ran_seconds=5000.0),
    ]
    gang = waits(1, "ada", gpus=1, ranks=8, gpu_type="H100", tier=1, priority=90)
    small = waits(2, "eve", gpus=1, gpu_type="A100", tier=1)
    found = planned([gang, small], live, nodes)
    assert victims(found) == [11]
    assert found.preemptions[0].beneficiary == small.run_id


def test_nobody_is_stopped_where_the_room_would_go_to_a_run_before() -> None:
    nodes = [node("x", cpus=64, gpus=8), node("y", cpus=64, gpus=1)]
    live = [
        trains(10, "bob", node="x", gpus=1, ran_seconds=5000.0),
        trains(11, "bob", node="x", gpus=1, tier=-1, preemptible=True, ran_seconds=1000.0),
        trains(12, "bob", node="y", gpus=1, tier=-1, preemptible=True, ran_seconds=5000.0),
    ]
    gang, small = waits(1, "ada", gpus=8, tier=1, priority=90), waits(2, "eve", gpus=1, tier=1)
    assert victims(planned([gang, small], live, nodes)) == [12]


def test_whom_room_is_being_made_for_already_counts_as_having_it() -> None:
    nodes = [node("x", gpus=2, gpu_type="H100"), node("y", gpus=1, gpu_type="A100")]
    hogs = [trains(number, "bob", node="x", gpus=1, preemptible=True, ran_seconds=1000.0) for number in (10, 11)]
    stops = trains(12, "bob", node="y", gpus=1, preemptible=True, ran_seconds=1000.0, stopping=True)
    first = waits(1, "ada", gpus=1, gpu_type="A100", priority=90)
    second = waits(2, "ada", gpus=1, gpu_type="H100")
    assert victims(planned([second], [*hogs, stops], nodes, usage={"bob": 1e4})) == [10]
    assert victims(planned([first, second], [*hogs, stops], nodes, usage={"bob": 1e4})) == []
