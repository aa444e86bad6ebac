"""The life of a run: one table of moves, and one function that applies it.

    queued ──claim──> starting ──begin──> running ──succeed──> succeeded
      ^ ^                 │                  │ └────fail─────> failed
      │ └──requeue──  retry_wait <──back_off─┤
      │                                      └──stop──> stopping ──cancel──> cancelled
      └──requeue (preempted, lost)─────────────────────────┴──pause──> paused ──requeue──> queued

Terminal states have no moves. Knows no SQL and no clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from prolu.client.wire import RunState
from service.domain.errors import IllegalTransition

Move = Literal["claim", "begin", "stop", "succeed", "fail", "cancel", "pause", "back_off", "requeue"]

STATES: tuple[RunState, ...] = get_args(RunState)
# An attempt holds the run, or is about to.
LIVE: frozenset[RunState] = frozenset({"starting", "running", "stopping"})
TERMINAL: frozenset[RunState] = frozenset({"succeeded", "failed", "cancelled"})
# Nobody holds the run; a wish can be granted on the spot.
RESTING: frozenset[RunState] = frozenset({"queued", "retry_wait", "paused"})


@dataclass(frozen=True)
class _Rule:
    sources: frozenset[RunState]
    target: RunState
    event: str


MOVES: dict[Move, _Rule] = {
    # The dispatcher takes the run for a new attempt.
    "claim": _Rule(frozenset({"queued"}), "starting", "claimed"),
    # Its attempt reports for the first time.
    "begin": _Rule(frozenset({"starting"}), "running", "running"),
    # The attempt is asked to write a checkpoint and end.
    "stop": _Rule(frozenset({"starting", "running"}), "stopping", "stopping"),
    # It reached its last step, even if it had been asked to stop meanwhile.
    "succeed": _Rule(LIVE, "succeeded", "succeeded"),
    # It ended in an error that is not retried, or was retried often enough.
    "fail": _Rule(LIVE, "failed", "failed"),
    # The owner's wish: at once where nobody holds the run, else when its attempt has ended.
    "cancel": _Rule(LIVE | RESTING, "cancelled", "cancelled"),
    "pause": _Rule(LIVE | frozenset({"queued", "retry_wait"}), "paused", "paused"),
    # The attempt ended in an error that passes with time.
    "back_off": _Rule(LIVE, "retry_wait", "retry_wait"),
    # Preempted or lost without blame; or the wait is over; or the owner resumes it.
    "requeue": _Rule(LIVE | frozenset({"retry_wait", "paused"}), "queued", "requeued"),
}


def apply(move: Move, state: RunState) -> RunState:
    """Return the state after `move`. Raises IllegalTransition, which names the present state."""
    rule = MOVES[move]
    if state not in rule.sources:
        if state in TERMINAL:
            raise IllegalTransition(f"The run is already finished ({state}); a finished run never changes.")
        allowed = ", ".join(sorted(rule.sources))
        raise IllegalTransition(f"The run is {state}; {move.replace('_', ' ')} needs it to be one of: {allowed}.")
    return rule.target
