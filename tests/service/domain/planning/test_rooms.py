"""The rooms of all nodes: always in the order in which they are filled, whatever was taken and given back."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.planning.placement import Asked, Place, Room
from service.domain.planning.rooms import Rooms
from tests.service.domain.planning.build import node

requests = st.tuples(st.integers(0, 3), st.sampled_from([0.0, 0.25, 0.3, 0.5, 1.0, 2.0]), st.integers(1, 5))


def one_by_one(rooms: Rooms, asked: Asked) -> list[str] | None:
    """Where the ranks go, each by itself: where one of them is already, else to the fullest that fits."""
    left = [room.copy() for room in rooms if not room.node.draining]
    chosen: list[str] = []

    def standing(room: Room) -> tuple[bool, float, float, str]:
        return room.node.name not in chosen, sum(room.devices), room.cpus, room.node.name

    for _ in range(asked.ranks):
        fitting = [room for room in left if room.fits(asked)]
        if not fitting:
            return None
        best = min(fitting, key=standing)
        best.take(asked)
        chosen.append(best.node.name)
    return chosen


@settings(deadline=None, max_examples=80)
@given(st.lists(st.tuples(requests, st.booleans()), max_size=25))
def test_ranks_go_where_each_by_itself_would_go(drawn: list[tuple[tuple[int, float, int], bool]]) -> None:
    rooms = Rooms.of(
        [node("a", cpus=4, gpus=2), node("b", cpus=8, gpus=4), node("c", cpus=8), node("d", draining=True)]
    )
    seated: list[tuple[Asked, list[Place]]] = []
    for (cpus, gpus, ranks), somebody_leaves in drawn:
        asked = Asked(cpus, gpus, 1.0, ranks)
        expected = one_by_one(rooms, asked)
        assert rooms.hold(asked) == (expected is not None)
        places = rooms.seat(asked)
        assert (None if places is None else [place.node for place in places]) == expected
        if places is not None:
            seated.append((asked, places))
        if somebody_leaves and seated:
            gone, where = seated.pop(0)
            rooms.clear(where, gone)


def test_a_rank_that_does_not_fit_where_it_shall_sit_takes_nothing() -> None:
    rooms = Rooms.of([node("a", cpus=1), node("b", cpus=1)])
    assert rooms.seat_there(["a", "b", "b"], Asked(1)) is None
    assert [room.cpus for room in rooms] == [1, 1]
    assert rooms.seat_there(["b", "a"], Asked(1)) == [Place("b"), Place("a")]
