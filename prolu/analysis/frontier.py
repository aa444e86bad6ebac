"""How good a family of autoencoders is at every sparsity: the area under its Pareto frontier. Knows numpy alone of packages.

A point is (l0, score), one trained run. The corners of the frontier are the points that no other dominates: those with a better
score than every point of no more l0. Between neighbouring corners the score is interpolated linearly in log l0; after the last
one it stays, up to the largest l0 that was measured, since who may use that much l0 may use less. Beyond the measured range it
has no value: nothing is extrapolated.

The area is the integral of the frontier over log l0 from `low` to `high`, divided by log(high / low): a mean score, in the
score's own unit. Where lower is better (fvu), the frontier is that of the negated scores, negated back.

    UncoveredRange   a frontier does not reach over the range that is asked for; the sentence says from where to where it does
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from prolu.spec.pareto import Goal, pareto

Points = Sequence[tuple[float | int, float | int]]  # JSON writes whole numbers either way

_Numbers = npt.NDArray[np.float64]


class UncoveredRange(ValueError):
    """The points do not reach over the range of l0 that is asked for."""


@dataclass(frozen=True)
class FrontierArea:
    """The area under a family's frontier, over its seeds."""

    mean: float
    """Mean of the areas of the seeds."""
    standard_error: float | None
    """Sample standard deviation of the areas over sqrt(n); None for n = 1, where it is unknown."""
    interval: tuple[float, float] | None
    """Percentile bootstrap interval of the mean: seeds are drawn anew with replacement; None for n = 1.

    Of two or three seeds it is no more than their range, which covers the true mean in a half or three quarters of all cases.
    """
    areas: tuple[float, ...]
    """The area of each seed, in the order given."""


@dataclass(frozen=True)
class FrontierDifference:
    """How far one frontier is from another over a range of log l0, in the score's unit; above 0 the first is better."""

    mean: float
    """Difference of the areas."""
    least: float
    """The difference where it is smallest: above 0, the first is better at every l0 of the range."""
    most: float
    """The difference where it is largest."""
    share_better: float
    """Share of the range, along log l0, on which the first is better."""


@dataclass(frozen=True)
class _Line:
    """A frontier over a range: its corners within, and the range's ends, in log l0."""

    where: _Numbers
    log_l0: _Numbers
    score: _Numbers

    @classmethod
    def of(cls, points: Points, low: float, high: float, better: Goal) -> _Line:
        if not 0 < low < high < np.inf:
            raise ValueError(
                f"The range of l0 is from {low:g} to {high:g}; give two positive numbers, the smaller one first."
            )
        first, last = _reach(points)
        if first > low or last < high:
            raise UncoveredRange(
                f"The points reach from l0 {first:g} to {last:g}, not over {low:g} to {high:g}; "
                "narrow the range or train runs beyond its ends."
            )
        corners = np.array(frontier(points, better=better))
        log_l0, ends = np.log(corners[:, 0]), np.log([low, high])
        within = log_l0[(log_l0 > ends[0]) & (log_l0 < ends[1])]
        return cls(np.concatenate([ends[:1], within, ends[1:]]), log_l0, corners[:, 1])

    def at(self, where: _Numbers) -> _Numbers:
        # Constant after the last corner; before the first lies nothing that was asked for.
        return np.interp(where, self.log_l0, self.score)


def frontier(points: Points, *, better: Goal = "higher") -> list[tuple[float, float]]:
    """Return the points that no other dominates, by rising l0; the score improves strictly from each to the next.

    Of equal scores the smallest l0 stays, of equal l0 the best score. Raises ValueError for no points, an l0 that is not
    positive, or a number that is not finite.
    """
    l0, score = _checked(points)
    measured = list(zip(l0.tolist(), score.tolist(), strict=True))
    return list(dict.fromkeys(measured[index] for index in pareto(measured, y=better)))


def area_under_frontier(points: Points, *, low: float, high: float, better: Goal = "higher") -> float:
    """Return the mean score of the frontier from l0 `low` to `high`, along log l0.

    Raises UncoveredRange if the smallest l0 is above `low` or the largest below `high`, ValueError as `frontier` does and
    unless 0 < low < high.
    """
    line = _Line.of(points, low, high, better)
    return float(np.trapezoid(line.at(line.where), line.where) / (line.where[-1] - line.where[0]))


def area_over_seeds(
    seeds: Sequence[Points],
    *,
    low: float,
    high: float,
    better: Goal = "higher",
    confidence: float = 0.95,
    resamples: int = 10_000,
) -> FrontierArea:
    """Return the area under each seed's own frontier, summarised; the bootstrap is drawn from a fixed seed.

    Raises UncoveredRange if the frontier of a seed does not cover the range, ValueError without seeds.
    """
    if not seeds:
        raise ValueError("There are no seeds to take the mean of; give the points of at least one.")
    areas = np.array([area_under_frontier(points, low=low, high=high, better=better) for points in seeds])
    if len(areas) == 1:
        return FrontierArea(mean=float(areas[0]), standard_error=None, interval=None, areas=tuple(areas.tolist()))
    drawn = np.random.default_rng(0).integers(len(areas), size=(resamples, len(areas)))
    tail = (1 - confidence) / 2
    bounds = np.quantile(areas[drawn].mean(axis=1), [tail, 1 - tail])
    return FrontierArea(
        mean=float(areas.mean()),
        standard_error=float(areas.std(ddof=1) / np.sqrt(len(areas))),
        interval=(float(bounds[0]), float(bounds[1])),
        areas=tuple(areas.tolist()),
    )


def difference(mine: Points, theirs: Points, *, low: float, high: float, better: Goal = "higher") -> FrontierDifference:
    """Return how far the frontier of `mine` is from that of `theirs` at equal l0, from `low` to `high`; above 0 `mine` is better.

    Both are linear between their corners, so the extremes lie at corners, and where the lines cross is worked out.
    Raises as `area_under_frontier` does.
    """
    one, other = (_Line.of(points, low, high, better) for points in (mine, theirs))
    where = np.unique(np.concatenate([one.where, other.where]))
    sign = 1.0 if better == "higher" else -1.0
    apart = sign * (one.at(where) - other.at(where))
    before, after, widths = apart[:-1], apart[1:], np.diff(where)
    above = np.maximum(before, after) > 0
    risen = np.where(
        np.minimum(before, after) >= 0, 1.0, np.maximum(before, after) / np.maximum(abs(after - before), 1e-300)
    )
    span = where[-1] - where[0]
    return FrontierDifference(
        mean=float(np.trapezoid(apart, where) / span),
        least=float(apart.min()),
        most=float(apart.max()),
        share_better=float((widths * risen * above).sum() / span),
    )


def common_range(families: Mapping[str, Sequence[Points]]) -> tuple[float, float]:
    """Return the widest range of l0 that every seed of every family covers; `families` has the points of each seed, by name.

    Raises UncoveredRange if there is none, with the names of the two families that are apart; ValueError without points.
    """
    reaches = [(*_reach(points), name) for name, seeds in families.items() for points in seeds]
    if not reaches:
        raise ValueError("There are no families to find a common range of; give at least one with a seed.")
    low, _, sparsest = max(reaches)
    _, high, densest = min(reaches, key=lambda reach: reach[1])
    if low >= high:
        raise UncoveredRange(
            f"No range of l0 is common to all families: {sparsest} begins at {low:g}, where {densest} has ended at {high:g}; "
            "train runs in between or compare fewer families."
        )
    return low, high


def _checked(points: Points) -> tuple[_Numbers, _Numbers]:
    numbers = np.array(points, dtype=np.float64).reshape(-1, 2)
    if len(numbers) == 0:
        raise ValueError("A frontier of no points has no value; give at least one.")
    if not np.isfinite(numbers).all() or not (numbers[:, 0] > 0).all():
        raise ValueError("A point has an l0 that is not positive or a number that is not finite; leave that run out.")
    return numbers[:, 0], numbers[:, 1]


def _reach(points: Points) -> tuple[float, float]:
    l0, _ = _checked(points)
    return float(l0.min()), float(l0.max())
