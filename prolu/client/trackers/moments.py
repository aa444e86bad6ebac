"""When a step was done, as far as the record of a run tells: trackers want a time beside every step.

The service keeps no time with each point. It knows when attempts began and ended, when checkpoints were accepted and when
progress was last told, each with its step; what lies between two of these moments is taken to have gone evenly.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from datetime import datetime

from prolu.client.wire import AttemptRead, CheckpointRead, RunSummary


def when_of(
    run: RunSummary, attempts: Iterable[AttemptRead], checkpoints: Iterable[CheckpointRead]
) -> Callable[[int], datetime]:
    """Return the function from steps to times: linear between known moments, constant before the first and after the last.

    An attempt that went on from a checkpoint did some steps again: the later time counts.
    """
    known = [(run.created_at, 0)]
    for attempt in attempts:
        known.append((attempt.started_at, attempt.resumed_from_step or 0))
        if attempt.finished_at is not None:
            known.append((attempt.finished_at, attempt.last_step))
    known += [(checkpoint.created_at, checkpoint.step) for checkpoint in checkpoints]
    if run.progress is not None and run.progress.phase == "training":
        known.append((run.progress.updated_at, run.progress.done))
    rising: list[tuple[datetime, int]] = []
    for moment, step in sorted(known):
        while rising and rising[-1][1] > step:
            rising.pop()
        rising.append((moment, step))
    return lambda step: _between(rising, step)


def _between(rising: list[tuple[datetime, int]], step: int) -> datetime:
    after = bisect_right(rising, step, key=lambda known: known[1])
    if after == 0:
        return rising[0][0]
    began, first = rising[after - 1]
    if after == len(rising):
        return began
    ended, last = rising[after]
    return began + (ended - began) * ((step - first) / (last - first))
