"""What workers log, as it is read and followed."""

from __future__ import annotations

from datetime import datetime

from prolu.client.wire.base import Wire
from prolu.client.wire.runs import RunState


class LogRead(Wire):
    """Lines that an attempt logged, as they were reported together."""

    epoch: int
    """Number of the attempt, from 1."""
    seq: int
    """Number of the report within the attempt: rises, with gaps, since attempts report other things as well."""
    at: datetime
    """When they were stored; each line has its own time."""
    text: str
    """Whole lines: time (UTC), of a gang `[rank 1]`, level, who logged it, and what; `OUT` and `ERR` are what was printed."""


class SweepFollowedToTheEnd(Wire):
    """The last message of a sweep's metrics that were followed: every run has ended, and the search if there is one."""

    runs: int
    """Runs that there are."""


class FollowedToTheEnd(Wire):
    """The last message of a log that was followed: nothing will be added to it."""

    state: RunState
    """Where the run is in its life."""
