"""The Pareto frontier of each family of runs, over two numbers. Pure; whom nobody betters is `prolu.spec.pareto`.

Runs are measured singly, or averaged: runs that are repeated with other seeds make one point, at the means of both numbers.
Of two runs with one seed the later counts, since the same work done twice is no repetition. A run that lacks a number, or has
one that is not finite, is not measured, and makes no point; where runs are averaged, it counts nowhere either.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from prolu.spec.pareto import Goal, pareto


class Measured(NamedTuple):
    """A run and its two numbers."""

    run_id: UUID | str
    """Any name of it."""
    family: str | None
    x: float
    y: float
    repeats: Any = None
    """Equal for runs that differ in their seed alone."""
    seed: int | None = None


class Point(NamedTuple):
    """One run, or the repetitions of one."""

    runs: tuple[Measured, ...]
    x: float
    y: float


class Placed(NamedTuple):
    """A point, and whether others better it."""

    point: Point
    dominated: bool
    """Another point of its family betters it."""
    overall: bool
    """No point of any family betters it."""


@dataclass(frozen=True, slots=True)
class Front:
    """The points of a family: those that nobody betters from the best x to the worst, then the rest likewise, if wanted."""

    family: str | None
    count: int
    """Points that were looked at."""
    points: tuple[Placed, ...]


def is_measured(x: float | None, y: float | None) -> bool:
    """Whether both numbers are there and finite."""
    return x is not None and y is not None and math.isfinite(x) and math.isfinite(y)


def singly(runs: Iterable[Measured]) -> list[Point]:
    """A point for each run."""
    return [Point((run,), run.x, run.y) for run in runs]


def averaged(runs: Iterable[Measured]) -> list[Point]:
    """A point for all runs of a family that differ in their seed alone; `runs` come oldest first."""
    groups: dict[tuple[str | None, Any], dict[int | None, Measured]] = {}
    for run in runs:
        groups.setdefault((run.family, run.repeats), {})[run.seed] = run
    points = []
    for by_seed in groups.values():
        members = tuple(by_seed.values())
        x, y = (math.fsum(numbers) / len(members) for numbers in zip(*((one.x, one.y) for one in members), strict=True))
        points.append(Point(members, x, y))
    return points


def fronts(points: Sequence[Point], *, x: Goal, y: Goal, dominated: bool = True) -> list[Front]:
    """The frontier of each family, by name, with or without what it betters; the nameless family comes first."""
    overall = {id(points[index]) for index in pareto([(one.x, one.y) for one in points], x=x, y=y)}
    families: dict[str | None, list[Point]] = {}
    for point in points:
        families.setdefault(point.runs[0].family, []).append(point)
    found = []
    for family, members in sorted(families.items(), key=lambda item: item[0] or ""):
        kept = pareto([(one.x, one.y) for one in members], x=x, y=y)
        placed = [Placed(members[index], dominated=False, overall=id(members[index]) in overall) for index in kept]
        if dominated:
            rest = {*range(len(members))}.difference(kept)
            sign = 1.0 if x == "lower" else -1.0
            beaten = sorted(rest, key=lambda index: sign * members[index].x)
            placed += [Placed(members[index], dominated=True, overall=False) for index in beaten]
        found.append(Front(family, len(members), tuple(placed)))
    return found
