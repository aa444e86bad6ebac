"""Shares of GPUs: a run keeps the device that Ray gave it, and the plan starts only what Ray can seat beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.planning.occupants import Occupant
from service.domain.planning.placement import Asked, Node, Room
from service.domain.planning.plan import Candidate, Decision, Policy
from tests.service.domain.planning.build import node, planned, started, trains, waits

TWO_GPUS = [node("a", cpus=16, gpus=2)]


def test_two_halves_on_two_devices_leave_no_whole_gpu() -> None:
    apart = [trains(8, gpus=0.5, devices=(("0",),)), trains(9, gpus=0.5, devices=(("1",),))]
    found = planned([waits(1, gpus=1), waits(2, gpus=0.5)], apart, TWO_GPUS)
    assert found.decisions[0].cause == "room"
    together = [replace(one, devices=(("1",),)) for one in apart]
    (decision,) = planned([waits(1, gpus=1)], together, TWO_GPUS).decisions
    assert (decision.start, decision.devices) == (True, (("0",),))


def test_devices_may_have_any_names() -> None:
    names = [trains(8, gpus=0.5, devices=(("GPU-4f2a",),)), trains(9, gpus=0.25, devices=(("7",),))]
    assert started(planned([waits(1, gpus=1)], names, TWO_GPUS)) == []
    (decision,) = planned([waits(1, gpus=0.5)], names, TWO_GPUS).decisions
    assert decision.devices == (("GPU-4f2a",),)
    both = [trains(8, gpus=2, devices=(("GPU-4f2a", "GPU-77c0"),))]
    assert started(planned([waits(1, gpus=0.25)], both, TWO_GPUS)) == []


def test_a_run_whose_device_nobody_knows_is_where_ray_would_have_put_it() -> None:
    known = trains(8, gpus=0.5, devices=(("1",),))
    first, second = trains(9, gpus=0.25, ran_seconds=20.0), trains(10, gpus=0.75, ran_seconds=10.0)
    assert started(planned([waits(1, gpus=0.25)], [second, first, known], TWO_GPUS)) == [1]
    assert started(planned([waits(1, gpus=0.5)], [second, first, known], TWO_GPUS)) == []


def test_what_ends_frees_its_own_device() -> None:
    ends = trains(8, gpus=0.5, devices=(("1",),), ends_within_seconds=60.0)
    stays = trains(9, gpus=0.5, devices=(("0",),), ends_within_seconds=3600.0)
    (decision,) = planned([waits(1, gpus=1)], [ends, stays], TWO_GPUS).decisions
    assert decision.starts_within_seconds == 60 + Policy().stop_grace_seconds


def test_a_run_stays_away_from_a_node_where_it_did_not_come_up() -> None:
    nodes = [node("a", cpus=1), node("b", cpus=1)]
    shy = waits(1)
    shy = replace(shy, asked=replace(shy.asked, avoided=("a",)))
    assert planned([shy], nodes=nodes).decisions[0].nodes == ("b",)
    soon = trains(9, node="b", ends_within_seconds=800.0)
    found = planned([shy, waits(2)], [soon], nodes)
    assert started(found) == [2]
    assert found.decisions[0].reason == (
        "waits until 1 CPU and 1 GiB away from a, where it did not come up, are free on one node; room is held for it on b"
    )


def test_a_node_is_avoided_no_longer_than_another_is_known_to_be_free_soon() -> None:
    nodes = [node("a", cpus=1), node("b", cpus=1)]
    shy = [replace(one, asked=replace(one.asked, avoided=("a",))) for one in (waits(1), waits(2))]
    for late in (None, 900.0):
        (decision,) = planned(shy[:1], [trains(9, node="b", ends_within_seconds=late)], nodes).decisions
        assert decision.nodes == ("a",)
        assert decision.reason == (
            "1 CPU and 1 GiB are free on a; it did not come up on a before, and no other node is known to be free within 15 min"
        )
    one_soon = planned(shy, [trains(9, node="b", ends_within_seconds=60.0)], nodes)
    assert [one.cause for one in one_soon.decisions] == ["room", "starts"], "the second knows of no other for itself"
    both_busy = [trains(8, node="a"), trains(9, node="b")]
    assert [one.cause for one in planned(shy, both_busy, nodes).decisions] == ["room", "behind"]
    assert planned(shy[:1], nodes=nodes[:1]).decisions[0].nodes == ("a",)


@dataclass
class Raylets:
    """Ray's own account of GPUs: whoever has devices keeps them to the end."""

    nodes: Sequence[Node]
    free: dict[str, list[float]] = field(default_factory=dict)
    seated: dict[int, list[tuple[str, list[int]]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.free = {one.name: [1.0] * int(one.gpus) for one in self.nodes}

    def seat(self, number: int, asked: Asked, nodes: Sequence[str]) -> None:
        """Give each rank its devices on its node, or fail the test."""
        self.seated[number] = [(name, self._devices(self.free[name], asked.gpus)) for name in nodes]

    def _devices(self, free: list[float], gpus: float) -> list[int]:
        if gpus >= 1:
            whole = [index for index, left in enumerate(free) if left == 1.0][: int(gpus)]
            assert len(whole) == gpus, f"no {gpus:g} whole devices in {free}"
            for index in whole:
                free[index] = 0.0
            return whole
        best = None
        for index, left in enumerate(free):
            if left >= gpus and (best is None or left - gpus < free[best] - gpus):
                best = index
        assert best is not None, f"no device has {gpus:g} left in {free}"
        free[best] -= gpus
        return [best]

    def names(self, number: int) -> tuple[tuple[str, ...], ...]:
        """What the ranks of a run would report."""
        return tuple(tuple(map(str, indices)) for _, indices in self.seated[number])

    def end(self, number: int, asked: Asked) -> None:
        for name, devices in self.seated.pop(number):
            for index in devices:
                self.free[name][index] += min(1.0, asked.gpus)


SHARES = [0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 1.0, 2.0]
submission = st.tuples(st.sampled_from(SHARES), st.integers(1, 2), st.sampled_from([None, 10.0]))
# What happens between two plans: runs come, some end, some say where they sit.
turns = st.lists(
    st.tuples(
        st.lists(submission, max_size=4),
        st.lists(st.integers(0, 30), max_size=3),
        st.lists(st.integers(0, 30), max_size=3),
        st.sampled_from([None, 50.0]),
    ),
    min_size=1,
    max_size=12,
)


@settings(deadline=None, max_examples=60)
@given(turns, st.lists(st.integers(1, 3), min_size=1, max_size=2))
def test_whatever_starts_ray_can_seat_however_runs_come_and_end(
    drawn: list[tuple[list[tuple[float, int, float | None]], list[int], list[int], float | None]], gpus: list[int]
) -> None:
    nodes = [node(f"n{index}", cpus=64, gpus=count) for index, count in enumerate(gpus)]
    ray = Raylets(nodes)
    waiting: dict[int, Candidate] = {}
    live: dict[int, Occupant] = {}
    number = 0
    for submitted, ends, tells, limit in drawn:
        for share, ranks, limit_seconds in submitted:
            number += 1
            waiting[number] = waits(number, gpus=share, ranks=ranks, limit_seconds=limit_seconds)
        for which in ends:
            if live:
                gone = sorted(live)[which % len(live)]
                ray.end(gone, live.pop(gone).asked)
        for which in tells:
            if live:
                told = sorted(live)[which % len(live)]
                live[told] = replace(live[told], devices=ray.names(told))
        for decision in planned(list(waiting.values()), list(live.values()), nodes).decisions:
            if decision.start:
                run = waiting.pop(decision.run_id.int)
                ray.seat(decision.run_id.int, run.asked, decision.nodes)
                assert decision.devices == ray.names(decision.run_id.int)
                live[decision.run_id.int] = _occupant(run, decision, limit)


def _occupant(run: Candidate, decision: Decision, limit: float | None) -> Occupant:
    return Occupant(
        run.run_id, run.owner, run.asked, decision.nodes, devices=decision.devices, ends_within_seconds=limit
    )


def test_a_room_can_be_taken_and_given_back_by_name() -> None:
    room = Room.of(node("a", gpus=2))
    half, whole = Asked(1, 0.5, 1.0), Asked(1, 1.0, 1.0)
    assert room.take(half, ["1"]) == ("1",)
    assert room.take(whole) == ("0",)
    room.give_back(half, ["1"])
    assert room.devices == [0.0, 1.0]
