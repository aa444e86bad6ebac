"""What repetitions over seeds say together: groups of runs that differ in `training.seed` alone, and estimates over them.

Pure: the resamples of the bootstrap are drawn with a fixed seed, so that the same results always have the same interval.
"""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, Protocol, TypeVar

from prolu.client.wire import SeedEstimate
from service.domain.expansion import SEED

RESAMPLES = 2_000
COVERAGE = 0.95
_BOOTSTRAP_SEED = 0


class Repetition(Protocol):
    """A run of a sweep, as far as grouping needs to know it."""

    @property
    def point(self) -> int: ...

    @property
    def variant(self) -> str | None: ...

    @property
    def set(self) -> Mapping[str, Any]: ...


Run = TypeVar("Run", bound=Repetition)


@dataclass(frozen=True)
class Group(Generic[Run]):
    """Runs that differ in their seed alone, by point."""

    runs: tuple[Run, ...]

    @property
    def point(self) -> int:
        """Index of the first of them, by which groups are in order."""
        return self.runs[0].point

    @property
    def variant(self) -> str | None:
        """Alternative of the sweep that they share."""
        return self.runs[0].variant

    @property
    def set(self) -> dict[str, Any]:
        """What they set alike."""
        return _without_seed(self.runs[0].set)

    @property
    def seeds(self) -> list[int]:
        """Their seeds, as far as the sweep sets them."""
        return [run.set[SEED] for run in self.runs if SEED in run.set]


def by_seed(runs: Sequence[Run]) -> list[Group[Run]]:
    """Group the runs of a sweep that are equal but for `training.seed`, whether `seeds` or a grid has set it.

    A run that has no like is a group by itself.
    """
    groups: dict[tuple[str | None, str], list[Run]] = {}
    for run in sorted(runs, key=lambda one: one.point):
        alike = json.dumps(_without_seed(run.set), sort_keys=True)
        groups.setdefault((run.variant, alike), []).append(run)
    return [Group(tuple(members)) for members in groups.values()]


def estimates(repetitions: Sequence[Mapping[str, float]]) -> dict[str, SeedEstimate]:
    """Estimate every number that a repetition has, over those that have it."""
    names = dict.fromkeys(name for numbers in repetitions for name in numbers)
    return {name: estimate([numbers[name] for numbers in repetitions if name in numbers]) for name in names}


def estimate(values: Sequence[float]) -> SeedEstimate:
    """Mean, standard error s / sqrt(n) with s^2 = sum (x - mean)^2 / (n - 1), and a percentile bootstrap interval.

    The interval runs from the 2.5 % to the 97.5 % quantile (linearly interpolated) of the means of 2,000 resamples of n
    values with replacement (Efron and Tibshirani 1993, chapter 13). It never leaves the range of the values, so of few
    repetitions it is too narrow: of two or three it is their range, outside which the true median lies with probability
    2^(1 - n), one in two or in four. Of one value, error and interval are unknown: None.
    Raises ValueError for no value.
    """
    n = len(values)
    if n == 0:
        raise ValueError("There is nothing to estimate from; give at least one value.")
    mean = math.fsum(values) / n
    if n == 1:
        return SeedEstimate(mean=mean, standard_error=None, interval=None, n=1)
    variance = math.fsum((value - mean) ** 2 for value in values) / (n - 1)
    means = sorted(
        (math.fsum(k * x for k, x in zip(counts, values, strict=True)) / n, t) for counts, t in _resamples(n)
    )
    tail = (1 - COVERAGE) / 2
    interval = (_quantile(means, tail), _quantile(means, 1 - tail))
    return SeedEstimate(mean=mean, standard_error=math.sqrt(variance / n), interval=interval, n=n)


@lru_cache(maxsize=16)
def _resamples(n: int) -> tuple[tuple[tuple[int, ...], int], ...]:
    """How often each of n values is drawn, and in how many of the resamples it is drawn so: few differ where n is small."""
    dice = random.Random(_BOOTSTRAP_SEED)  # noqa: S311 - statistics, not secrets
    drawn = (Counter(dice.choices(range(n), k=n)) for _ in range(RESAMPLES))
    return tuple(Counter(tuple(counts[index] for index in range(n)) for counts in drawn).items())


def _quantile(means: Sequence[tuple[float, int]], probability: float) -> float:
    """The quantile of sorted values that stand for so many each, linearly interpolated between neighbours."""
    place = probability * (RESAMPLES - 1)
    low, high = _nth(means, math.floor(place)), _nth(means, math.ceil(place))
    return low + (high - low) * (place - math.floor(place))


def _nth(means: Sequence[tuple[float, int]], index: int) -> float:
    passed = 0
    for mean, times in means:
        passed += times
        if passed > index:
            return mean
    raise IndexError(index)


def _without_seed(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {path: value for path, value in settings.items() if path != SEED}
