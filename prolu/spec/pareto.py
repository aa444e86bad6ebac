"""Which points no other betters: the one rule of the service's frontiers, of pictures, and of the areas under them.

A point is two finite numbers (x, y), each with a goal: the lower or the higher the better. One point betters another if it is
as good in both numbers and better in one of them. So of points with equal x only the best y stays, of points with equal y only
the best x, and points that are equal in both do not better each other: all of them stay, or none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

Goal = Literal["lower", "higher"]


def pareto(points: Sequence[tuple[float, float]], *, x: Goal = "lower", y: Goal) -> list[int]:
    """Return the indices of the points that no other betters, from the best x to the worst; equal points by index.

    Takes n log n steps. Numbers must be finite: NaN is neither better nor worse than anything.
    """
    sign_x, sign_y = (1.0 if goal == "lower" else -1.0 for goal in (x, y))
    costs = [(sign_x * one, sign_y * other) for one, other in points]
    kept: list[int] = []
    for index in sorted(range(len(costs)), key=costs.__getitem__):
        if not kept or costs[index][1] < costs[kept[-1]][1] or costs[index] == costs[kept[-1]]:
            kept.append(index)
    return kept
