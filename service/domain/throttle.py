"""How many requests somebody may send: a token bucket each. Pure: the time is passed in.

A bucket holds at most `burst` requests and is filled by `per_second` of them a second; a request takes one, or waits for it.
"""

from __future__ import annotations

from collections.abc import Hashable


class Throttle:
    """The buckets of everybody who has asked; not for several threads at once."""

    def __init__(self, *, per_second: float, burst: int) -> None:
        self._per_second = per_second
        self._burst = burst
        self._left: dict[Hashable, tuple[float, float]] = {}

    def take(self, who: Hashable, now: float) -> float:
        """Take one request out of somebody's bucket, and return 0; or the seconds until it holds one again, if it is empty.

        `now` is in seconds, from any clock that never goes back.
        """
        held, then = self._left.get(who, (float(self._burst), now))
        held = min(self._burst, held + (now - then) * self._per_second)
        if held < 1.0:
            self._left[who] = held, now
            return (1.0 - held) / self._per_second
        self._left[who] = held - 1.0, now
        return 0.0
