"""Room that is held for several runs: each beside the others, and free again when it is needed."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.planning.occupants import settle
from service.domain.planning.placement import Asked
from service.domain.planning.plan import Policy
from service.domain.planning.reservations import Reservations
from service.domain.planning.rooms import Rooms
from tests.service.domain.planning.build import node, planned, started, trains, waits

TWO_ENDS = [trains(8, gpus=1, ends_within_seconds=100.0), trains(9, gpus=1, ends_within_seconds=200.0)]
PROMPT = Policy(stop_grace_seconds=0.0)


def test_a_second_run_does_not_count_on_the_room_that_is_held_for_the_first() -> None:
    first, second = waits(1, gpus=1, priority=90), waits(2, gpus=1, cpus=2)
    found = planned([first, second], TWO_ENDS, [node(gpus=2)], policy=PROMPT)
    assert [decision.cause for decision in found.decisions] == ["room", "room"]
    assert [decision.starts_within_seconds for decision in found.decisions] == [100, 200]


def test_a_second_run_is_held_the_room_that_the_first_leaves_even_if_that_is_free_sooner() -> None:
    nodes = [node("a", gpus=2), node("b", gpus=1)]
    gang, small = waits(1, gpus=1, ranks=2, priority=90), waits(2, gpus=1, cpus=2)
    live = [*TWO_ENDS, trains(7, gpus=1, node="b", ends_within_seconds=50.0)]
    found = planned([gang, small], live, nodes, policy=PROMPT)
    assert [decision.starts_within_seconds for decision in found.decisions] == [100, 200]
    assert found.decisions[0].reason.endswith("room is held for it on a, b")


def test_a_run_that_fits_only_after_the_first_has_no_time_and_stops_no_backfill() -> None:
    nodes, live = [node("a", gpus=4)], [trains(9, gpus=1, ends_within_seconds=3600.0)]
    first, second = waits(1, gpus=1, ranks=4, priority=100), waits(2, gpus=1, ranks=3, priority=90)
    found = planned([first, second, waits(3, gpus=1, limit_seconds=3000.0)], live, nodes, policy=PROMPT)
    assert [decision.cause for decision in found.decisions] == ["room", "room", "backfills"]
    assert [decision.starts_within_seconds for decision in found.decisions[:2]] == [3600, None]
    assert found.decisions[1].reason.endswith("room is held for it on a")


def test_what_passes_has_to_be_gone_with_its_grace_and_a_start_at_the_latest_counts_that_of_others() -> None:
    nodes, live = [node("a", gpus=4)], [trains(9, gpus=1, ends_within_seconds=3600.0)]
    gang, policy = waits(1, gpus=1, ranks=4, priority=90), Policy(stop_grace_seconds=60.0)
    late, timely = waits(2, gpus=1, limit_seconds=3541.0), waits(3, gpus=1, limit_seconds=3540.0)
    found = planned([gang, late, timely], live, nodes, policy=policy)
    assert started(found) == [3]
    assert found.decisions[0].starts_within_seconds == 3660


def test_a_room_is_asked_only_by_who_would_use_it() -> None:
    nodes = [node("a", gpus=4), node("b", gpus=4)]
    live = [trains(8, gpus=2, ends_within_seconds=7200.0), trains(9, gpus=1, node="b")]
    gangs = [waits(1, gpus=4, priority=100), waits(2, gpus=4, cpus=2, priority=90)]
    found = planned([*gangs, waits(3, gpus=2, limit_seconds=3600.0)], live, nodes, policy=PROMPT)
    assert [decision.cause for decision in found.decisions] == ["room", "room", "backfills"]
    assert [decision.starts_within_seconds for decision in found.decisions[:2]] == [7200, None]
    assert found.decisions[2].nodes == ("a",)
    assert found.decisions[2].reason == "ends before the room is needed that is held on a"


def test_while_nobody_knows_when_a_room_is_needed_short_runs_use_it() -> None:
    gang = waits(1, gpus=1, ranks=8, priority=90)
    short = [waits(number, gpus=1, limit_seconds=60.0) for number in range(2, 8)]
    limits = [waits(8, gpus=1, limit_seconds=901.0), waits(9, gpus=1, limit_seconds=900.0)]
    found = planned([gang, *short, *limits], [trains(99, gpus=1)], [node(gpus=8, cpus=64)])
    assert started(found) == [2, 3, 4, 5, 6, 7, 9]
    assert found.decisions[1].reason == (
        "ends within 15 min, and nobody can tell when the room is needed that is held on a"
    )


def test_nobody_gets_in_the_way_of_a_room_that_is_being_made_or_could_be() -> None:
    gang, short = waits(1, gpus=1, ranks=8, priority=90), waits(2, gpus=1, limit_seconds=60.0)
    nodes = [node(gpus=8, cpus=64)]
    stops = planned([gang, short], [trains(99, gpus=1, stopping=True)], nodes)
    assert started(stops) == []
    assert stops.decisions[0].starts_within_seconds == Policy().stop_grace_seconds
    assert started(planned([gang, short], [trains(99, gpus=1, preemptible=True)], nodes)) == []


def test_what_is_held_after_another_is_needed_no_sooner_than_what_it_waits_for() -> None:
    nodes, live = [node("a", gpus=2), node("b", gpus=1)], [trains(9, gpus=1, ends_within_seconds=1000.0)]
    first, after = waits(1, gpus=2, priority=100), waits(2, gpus=1, ranks=3, priority=90)
    late, timely = waits(3, gpus=1, cpus=2, limit_seconds=1001.0), waits(4, gpus=1, cpus=2, limit_seconds=1000.0)
    found = planned([first, after, late, timely], live, nodes, policy=PROMPT)
    assert [decision.starts_within_seconds for decision in found.decisions[:2]] == [1000, None]
    assert started(found) == [4]


sizes = st.tuples(st.integers(1, 4), st.integers(0, 2), st.integers(1, 3))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(sizes, st.floats(1, 100)), max_size=12), st.lists(sizes, min_size=1, max_size=6))
def test_all_that_is_held_with_a_time_fits_at_once_when_the_last_of_these_times_has_come(
    running: list[tuple[tuple[int, int, int], float]], held: list[tuple[int, int, int]]
) -> None:
    nodes = [node(name, cpus=4, gpus=2) for name in "abc"]
    rooms, live = Rooms.of(nodes), []
    for number, ((cpus, gpus, ranks), ends) in enumerate(running):
        places = rooms.seat(Asked(cpus, gpus, 1.0, ranks))
        if places is not None:
            seats = tuple(place.node for place in places)
            live.append(trains(number, cpus=cpus, gpus=gpus, ranks=ranks, nodes=seats, ends_within_seconds=ends))
    reservations = Reservations(live, nodes, rooms, grace_seconds=0.0)
    timed = []
    for cpus, gpus, ranks in held:
        asked = Asked(cpus, gpus, 1.0, ranks)
        if not reservations.free.hold(asked) and Rooms.of(nodes).hold(asked):
            places, within = reservations.hold(asked)
            timed += [(within, place, asked) for place in places if within is not None]
    last = max((within for within, *_ in timed), default=0.0)
    then = Rooms.of(nodes)
    settle([one for one in live if (one.ends_within_seconds or 0.0) > last], then)
    for _, place, asked in timed:
        assert then.seat_there([place.node], asked) is not None
