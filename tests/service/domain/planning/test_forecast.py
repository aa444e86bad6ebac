"""When runs would start, if they take as long as is known."""

from __future__ import annotations

from uuid import UUID

from service.domain.planning import forecast
from tests.service.domain.planning.build import SWEEP, node, trains, waits


def starts(order: list, live: list, nodes: list, seconds: dict[int, float]) -> dict[int, float]:
    found = forecast(order, live, nodes, seconds={UUID(int=number): value for number, value in seconds.items()})
    return {run_id.int: at for run_id, at in found.items()}


def test_a_run_starts_when_enough_of_those_before_it_have_ended() -> None:
    order = [waits(1, cpus=2), waits(2, cpus=4), waits(3)]
    live = [trains(8, cpus=3), trains(9, cpus=1)]
    assert starts(order, live, [node()], {8: 60, 9: 10, 1: 100, 2: 100, 3: 1}) == {1: 60, 2: 160, 3: 260}


def test_what_fits_starts_now() -> None:
    assert starts([waits(1), waits(2)], [], [node(cpus=2)], {}) == {1: 0, 2: 0}


def test_behind_a_run_of_unknown_length_nobody_has_an_estimate() -> None:
    assert starts([waits(1, cpus=4), waits(2)], [], [node()], {2: 5}) == {1: 0}


def test_a_run_that_fits_nowhere_holds_up_nobody() -> None:
    assert starts([waits(1, cpus=99), waits(2)], [], [node()], {}) == {2: 0}


def test_a_sweep_at_its_limit_waits_for_its_own_runs_alone() -> None:
    order = [waits(1, sweep_id=SWEEP, max_concurrent=1), waits(2, sweep_id=SWEEP, max_concurrent=1), waits(3)]
    live = [trains(9, sweep_id=SWEEP)]
    assert starts(order, live, [node()], {9: 30, 1: 20, 2: 20, 3: 5}) == {1: 30, 2: 50, 3: 0}


def test_ranks_start_together() -> None:
    order = [waits(1, ranks=2, cpus=4)]
    assert starts(order, [trains(9, node="b")], [node("a"), node("b")], {9: 7}) == {1: 7}
