"""Fewer points of a long series, such that a picture of them is a picture of the series. Pure.

The steps from the first to the last are cut into buckets of equal length; of each bucket the smallest and the largest value
stay, and the first gap. So no spike is lost, whatever its width, and both ends of the series stay where they are. (Largest
Triangle Three Buckets, Steinarsson 2013, keeps the look of a line with half the points, but drops spikes that a neighbour
outshines, and those are what people look for in a run that went wrong.)
"""

from __future__ import annotations

from collections.abc import Sequence

# Fewer points leave no room for two ends and the three of one bucket.
LEAST_POINTS = 5


def kept(steps: Sequence[int], values: Sequence[float | None], points: int) -> list[int]:
    """The indices of at most `points` samples, rising; of all, if there are no more. A value that is None is a gap.

    `steps` rise. Raises ValueError for fewer points than `LEAST_POINTS`.
    """
    if points < LEAST_POINTS:
        raise ValueError(f"A series keeps at least {LEAST_POINTS} points; got {points}.")
    if len(steps) <= points:
        return list(range(len(steps)))
    each = 3 if None in values else 2
    buckets = (points - 2) // each
    first, width = steps[0], (steps[-1] - steps[0]) / buckets
    chosen = {0, len(steps) - 1}
    for bucket in _buckets(steps, first, width, buckets):
        finite = [(value, index) for index in bucket if (value := values[index]) is not None]
        if finite:
            chosen |= {min(finite)[1], max(finite)[1]}
        if len(finite) < len(bucket):
            chosen.add(next(index for index in bucket if values[index] is None))
    return sorted(chosen)


def _buckets(steps: Sequence[int], first: int, width: float, count: int) -> list[list[int]]:
    found: list[list[int]] = [[] for _ in range(count)]
    for index, step in enumerate(steps):
        found[min(count - 1, int((step - first) / width))].append(index)
    return [bucket for bucket in found if bucket]
