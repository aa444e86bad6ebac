"""Which runs of a sweep are results: a snapshot at step 0 shows how a run was begun, and one that broke did not arrive."""

from __future__ import annotations

from prolu.client.wire import RunState

_BROKEN: tuple[RunState, ...] = ("failed", "cancelled")


def was_trained(step: int) -> bool:
    """Whether what was seen at `step` (optimizer steps done) is the work of training."""
    return step > 0


def counts(state: RunState, step: int) -> bool:
    """Whether a run may stand among the others in a picture: it was trained, and neither failed nor was cancelled."""
    return was_trained(step) and state not in _BROKEN
