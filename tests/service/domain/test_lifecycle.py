"""The table of moves is the one that the design draws."""

import pytest

from prolu.client.wire import RunState
from service.domain.errors import IllegalTransition
from service.domain.lifecycle import LIVE, MOVES, RESTING, STATES, TERMINAL, Move, apply

DRAWN: set[tuple[RunState, RunState]] = {
    ("queued", "starting"),
    ("queued", "paused"),
    ("queued", "cancelled"),
    ("starting", "running"),
    ("starting", "stopping"),
    ("starting", "retry_wait"),
    ("starting", "queued"),
    ("starting", "paused"),
    ("starting", "cancelled"),
    ("starting", "failed"),
    ("starting", "succeeded"),
    ("running", "stopping"),
    ("running", "retry_wait"),
    ("running", "queued"),
    ("running", "paused"),
    ("running", "cancelled"),
    ("running", "failed"),
    ("running", "succeeded"),
    ("stopping", "paused"),
    ("stopping", "cancelled"),
    ("stopping", "queued"),
    ("stopping", "retry_wait"),
    ("stopping", "failed"),
    ("stopping", "succeeded"),
    ("retry_wait", "queued"),
    ("retry_wait", "paused"),
    ("retry_wait", "cancelled"),
    ("paused", "queued"),
    ("paused", "cancelled"),
}


def test_the_moves_are_exactly_those_that_are_drawn() -> None:
    assert {(source, rule.target) for rule in MOVES.values() for source in rule.sources} == DRAWN


def test_every_state_is_live_resting_or_terminal() -> None:
    assert sorted([*LIVE, *RESTING, *TERMINAL]) == sorted(STATES)


@pytest.mark.parametrize("state", sorted(TERMINAL))
@pytest.mark.parametrize("move", list(MOVES))
def test_a_terminal_state_never_changes(state: RunState, move: Move) -> None:
    with pytest.raises(IllegalTransition, match=state):
        apply(move, state)


@pytest.mark.parametrize("move", list(MOVES))
@pytest.mark.parametrize("state", STATES)
def test_a_move_is_applied_or_refused_by_the_table(state: RunState, move: Move) -> None:
    if state in MOVES[move].sources:
        assert apply(move, state) == MOVES[move].target
    else:
        with pytest.raises(IllegalTransition, match=state):
            apply(move, state)


def test_the_refusal_says_the_state_and_what_would_be_right() -> None:
    with pytest.raises(IllegalTransition) as refused:
        apply("claim", "paused")
    assert refused.value.sentence == "The run is paused; claim needs it to be one of: queued."
    assert refused.value.status == 409
