"""The plan: room, gangs, reservations, backfill, limits, and a reason for everybody."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.planning.placement import Asked, Room
from service.domain.planning.plan import Policy
from tests.service.domain.planning.build import SWEEP, node, planned, started, trains, waits


def test_as_many_start_as_fit_in_the_order_of_the_queue() -> None:
    found = planned([waits(1), waits(2), waits(3)], nodes=[node(cpus=2)])
    assert started(found) == [1, 2]
    assert found.decisions[0].reason == "1 CPU and 1 GiB are free on a"
    assert found.decisions[2].reason == "waits until 1 CPU and 1 GiB are free on one node; room is held for it on a"


def test_a_gang_starts_on_several_nodes_at_once_or_not_at_all() -> None:
    nodes = [node("a", gpus=2), node("b", gpus=2)]
    (decision,) = planned([waits(1, gpus=1, ranks=4)], nodes=nodes).decisions
    assert decision.nodes == ("a", "a", "b", "b")
    busy = planned([waits(1, gpus=1, ranks=4)], [trains(9, gpus=1, node="b")], nodes)
    assert started(busy) == []
    assert busy.decisions[0].reason == (
        "waits until 4 times 1 CPU, 1 GPU and 1 GiB are free at once; room is held for it on a, b"
    )


def test_small_runs_do_not_take_the_room_that_is_held_for_a_gang() -> None:
    nodes = [node("a", gpus=4)]
    gang, small = waits(1, gpus=1, ranks=4, priority=90), waits(2, gpus=1)
    assert started(planned([gang, small], [trains(9, gpus=1)], nodes)) == []
    assert started(planned([small], [trains(9, gpus=1)], nodes)) == [2]


def test_a_run_that_ends_before_the_room_is_needed_uses_it_meanwhile() -> None:
    nodes, live = [node("a", gpus=4)], [trains(9, gpus=1, ends_within_seconds=3600.0)]
    gang = waits(1, gpus=1, ranks=4, priority=90)
    short, long = waits(2, gpus=1, limit_seconds=3000.0), waits(3, gpus=0.5, limit_seconds=4000.0)
    found = planned([gang, short, long], live, nodes)
    assert started(found) == [2]
    assert [decision.cause for decision in found.decisions] == ["room", "backfills", "room"]
    assert found.decisions[0].starts_within_seconds == 3600 + Policy().stop_grace_seconds
    unlimited = [trains(9, gpus=1)]
    assert started(planned([gang, short], unlimited, nodes)) == [], "nobody can tell who is gone in time"


def test_a_whole_gpu_is_not_made_of_two_halves() -> None:
    halves = [trains(8, gpus=0.5, node="a"), trains(9, gpus=0.5, node="a")]
    assert started(planned([waits(1, gpus=1)], halves, [node("a", gpus=2)])) == [1]
    three = [trains(number, gpus=0.6) for number in (7, 8)]
    assert started(planned([waits(1, gpus=0.6)], three, [node("a", gpus=2)])) == []
    assert started(planned([waits(1, gpus=0.4)], three, [node("a", gpus=2)])) == [1]


def test_a_type_of_gpu_is_found_or_the_run_is_told_so() -> None:
    nodes = [node("a", gpus=2, gpu_type="T4"), node("b", gpus=2, gpu_type="A100")]
    assert planned([waits(1, gpus=1, gpu_type="A100")], nodes=nodes).decisions[0].nodes == ("b",)
    (refused,) = planned([waits(1, gpus=1, gpu_type="H100")], nodes=nodes).decisions
    assert refused.reason == "no node is large enough for 1 CPU, 1 H100 GPU and 1 GiB"


def test_a_draining_node_starts_nothing() -> None:
    assert started(planned([waits(1)], nodes=[node("a", draining=True)])) == []
    assert started(planned([waits(1)], nodes=[node("a", draining=True), node("b")])) == [1]


def test_a_sweep_trains_no_more_runs_than_it_allows() -> None:
    sweep = [waits(number, sweep_id=SWEEP, max_concurrent=2) for number in (1, 2, 3)]
    found = planned([*sweep, waits(4)], [trains(9, sweep_id=SWEEP)])
    assert started(found) == [1, 4]
    assert found.decisions[1].reason == "its sweep trains 2 runs already, as many as max_concurrent allows"


def test_a_user_holds_no_more_gpus_than_the_limit() -> None:
    runs = [waits(1, gpus=1), waits(2, gpus=1), waits(3, "bob", gpus=1)]
    found = planned(runs, [trains(9, gpus=1)], [node(gpus=8, cpus=8)], policy=Policy(max_gpus_per_user=2))
    assert sorted(started(found)) == [1, 3]
    (told,) = [one.reason for one in found.decisions if one.cause == "user_limit"]
    assert told == "asks for 1 GPU; its owner holds 2 of the 2 that one user may"


def test_a_users_small_runs_do_not_starve_their_gang_at_the_limit() -> None:
    nodes, limit = [node(gpus=8, cpus=64)], Policy(max_gpus_per_user=4)
    gang = waits(1, gpus=1, ranks=4, priority=100, hours=720)
    small = [waits(number, gpus=1, priority=0) for number in range(2, 62)]
    found = planned([gang, *small], [trains(99, gpus=1)], nodes, policy=limit)
    assert started(found) == []
    assert found.decisions[0].reason == "asks for 4 GPUs; its owner holds 1 of the 4 that one user may"
    assert found.decisions[1].reason == (
        "asks for 1 GPU; its owner holds 1 of the 4 that one user may, and 4 are kept for runs of theirs before it"
    )
    assert started(planned([gang, *small], nodes=nodes, policy=limit)) == [1]


def test_a_users_small_runs_take_nothing_of_the_limit_from_their_run_that_room_is_held_for() -> None:
    nodes, busy = [node("a", gpus=4), node("b", gpus=4)], [trains(9, "bob", gpus=1), trains(8, "bob", gpus=3, node="b")]
    gang, small = waits(1, gpus=4, priority=100), waits(2, gpus=1)
    found = planned([gang, small, waits(3, "eve", gpus=1)], busy, nodes, policy=Policy(max_gpus_per_user=4))
    assert [(one.run_id.int, one.cause) for one in found.decisions] == [(1, "room"), (3, "starts"), (2, "user_limit")]


def test_a_run_above_the_limit_for_good_keeps_nothing_for_itself() -> None:
    huge, small = waits(1, gpus=1, ranks=5, priority=100), waits(2, gpus=1)
    found = planned([huge, small], nodes=[node(gpus=8, cpus=8)], policy=Policy(max_gpus_per_user=4))
    assert started(found) == [2]


def test_what_needs_no_gpu_waits_for_no_limit_on_gpus() -> None:
    gang, small = waits(1, gpus=1, ranks=4, priority=100), waits(2)
    live = [trains(9, gpus=1)]
    assert started(planned([gang, small], live, [node(gpus=8, cpus=8)], policy=Policy(max_gpus_per_user=4))) == [2]


def test_a_sweeps_small_runs_do_not_take_the_slot_of_its_run_that_room_is_held_for() -> None:
    gang = waits(1, cpus=4, priority=100, sweep_id=SWEEP, max_concurrent=1)
    small = waits(2, sweep_id=SWEEP, max_concurrent=1)
    found = planned([gang, small, waits(3)], [trains(9, cpus=1)], [node(cpus=4), node("b", cpus=1)])
    assert [(one.run_id.int, one.cause) for one in found.decisions] == [(1, "room"), (2, "sweep_limit"), (3, "starts")]
    assert found.decisions[1].reason == (
        "its sweep trains 0 of the 1 run that max_concurrent allows, and room is held for 1 before it"
    )


@pytest.mark.parametrize(("share", "count", "limit"), [(0.05, 20, 1), (0.2, 15, 3), (0.1, 20, 2)])
def test_shares_that_fill_the_limit_exactly_all_start(share: float, count: int, limit: int) -> None:
    runs = [waits(number, gpus=share) for number in range(1, count + 2)]
    found = planned(runs, nodes=[node(gpus=8, cpus=64)], policy=Policy(max_gpus_per_user=limit))
    assert len(started(found)) == count


def test_runs_too_large_for_the_cluster_hold_up_nobody() -> None:
    found = planned([waits(1, gpus=1), waits(2)], nodes=[node()])
    assert started(found) == [2]
    assert planned([waits(1)], nodes=[]).decisions[0].reason == "no node of the cluster is known yet"


runs = st.lists(
    st.tuples(
        st.sampled_from(["ada", "bob", "eve"]),
        st.integers(1, 4),
        st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0]),
        st.integers(1, 3),
        st.sampled_from([None, 100.0, 5000.0]),
    ),
    max_size=25,
)
clusters = st.lists(st.tuples(st.integers(1, 8), st.integers(0, 4)), min_size=1, max_size=4)


@settings(deadline=None)
@given(runs, runs, clusters)
def test_a_plan_never_gives_room_that_is_not_there_and_leaves_none_that_nobody_holds(
    drawn: list[tuple[str, int, float, int, float | None]],
    running: list[tuple[str, int, float, int, float | None]],
    cluster: list[tuple[int, int]],
) -> None:
    nodes = [node(f"n{index}", cpus=cpus, gpus=gpus) for index, (cpus, gpus) in enumerate(cluster)]
    rooms = {one.name: Room.of(one) for one in nodes}
    live = []
    for number, (owner, cpus, gpus, _, ends) in enumerate(running, start=1000):
        home = next((room for room in rooms.values() if room.fits(Asked(cpus, gpus, 1.0))), None)
        if home is not None:
            home.take(Asked(cpus, gpus, 1.0))
            live.append(trains(number, owner, cpus=cpus, gpus=gpus, node=home.node.name, ends_within_seconds=ends))
    waiting = [
        waits(number, owner, cpus=cpus, gpus=gpus, ranks=ranks, limit_seconds=limit)
        for number, (owner, cpus, gpus, ranks, limit) in enumerate(drawn)
    ]
    found = planned(waiting, live, nodes)
    asked = {run.run_id: run.asked for run in waiting}
    for decision in found.decisions:
        assert decision.reason
        assert len(decision.nodes) == (asked[decision.run_id].ranks if decision.start else 0)
        for name in decision.nodes:
            assert rooms[name].cpus >= asked[decision.run_id].cpus
            rooms[name].take(asked[decision.run_id])
    if not any(decision.cause == "room" for decision in found.decisions):
        left = [decision for decision in found.decisions if not decision.start]
        assert {decision.cause for decision in left} <= {"too_large"}
