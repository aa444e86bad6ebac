"""The settings of every point of a sweep, in order: the last dimension varies fastest, and `seeds` last of all.

A dimension that waits for another by its `when` comes after it. Where it does not hold it sets nothing, and counts once.
Draws are combined like one more list; those that repeat an earlier one are passed over for the next of the sequence.
Knows no SQL and no HTTP.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from prolu.spec import Distribution, GridValues, Mistake, RandomSpec, SpecError, SweepSpec, Variant, canonical_json
from service.domain.expansion.conditions import holds, in_order
from service.domain.expansion.drawing import draw
from service.domain.expansion.series import values_of
from service.domain.expansion.settings import SEED, Location, Setting

# So many draws in a row that repeat earlier ones tell that there are no others.
_MOST_REPEATED = 1_000


class Dimension(Protocol):
    """One thing that a sweep varies."""

    place: Location
    paths: frozenset[str]
    needs: frozenset[str]
    size: int
    """How many choices it has where it holds."""

    def choices(self, base: Mapping[str, Any], chosen: Mapping[str, Any]) -> Iterator[list[Setting]]:
        """Give what it sets in points that have chosen so much already."""


@dataclass(frozen=True)
class Alternative:
    """A variant, or the base alone, with what is varied in it."""

    variant: Variant | None
    fixed: Sequence[Setting]
    dimensions: Sequence[Dimension]

    @property
    def most(self) -> int:
        """How many points it has at most; without conditions, exactly so many."""
        return math.prod(dimension.size for dimension in self.dimensions)

    @property
    def has_conditions(self) -> bool:
        """Whether it may have fewer."""
        return any(dimension.needs for dimension in self.dimensions)

    def combinations(self, base: Mapping[str, Any]) -> Iterator[list[Setting]]:
        """Give the settings of each of its points. Raises SpecError for conditions in a circle, or too few draws."""
        return _walk(base, list(self.fixed), in_order(self.dimensions))


def alternatives(sweep: SweepSpec) -> list[Alternative]:
    """Give the alternatives of a sweep in order."""
    shared: list[Dimension] = [_Listed(("grid", path), path, values) for path, values in sweep.grid.items()]
    if sweep.points:
        shared.append(_Points(sweep.points))
    if sweep.random is not None:
        shared.append(_Draws(sweep.random))
    if sweep.seeds:
        shared.append(_Listed(("seeds",), SEED, list(sweep.seeds)))
    if not sweep.variants:
        return [Alternative(None, [], shared)]
    return [_alternative(number, variant, shared) for number, variant in enumerate(sweep.variants)]


def _alternative(number: int, variant: Variant, shared: Sequence[Dimension]) -> Alternative:
    place = ("variants", number)
    fixed = [Setting(path, value, (*place, "set", path), False) for path, value in variant.set.items()]
    own: list[Dimension] = [_Listed((*place, "grid", path), path, values) for path, values in variant.grid.items()]
    return Alternative(variant, fixed, [*own, *shared])


def _walk(base: Mapping[str, Any], settings: list[Setting], rest: Sequence[Dimension]) -> Iterator[list[Setting]]:
    if not rest:
        yield settings
        return
    chosen = {setting.path: setting.value for setting in settings}
    for choice in rest[0].choices(base, chosen):
        yield from _walk(base, settings + choice, rest[1:])


class _Listed:
    """A list or a series of values for one path."""

    def __init__(self, place: Location, path: str, values: GridValues) -> None:
        self.place, self.paths = place, frozenset({path})
        self._path, self._when = path, getattr(values, "when", {})
        self.needs = frozenset(self._when)
        entries = (*place, "values") if getattr(values, "kind", "") == "values" else place
        written = isinstance(values, list) or entries is not place
        self._settings = [
            Setting(path, value, (*entries, index) if written else place, True)
            for index, value in enumerate(values_of(values))
        ]
        self.size = len(self._settings)

    def choices(self, base: Mapping[str, Any], chosen: Mapping[str, Any]) -> Iterator[list[Setting]]:
        if not holds(self._when, base, chosen):
            yield []
            return
        for setting in self._settings:
            yield [setting]


class _Points:
    """Settings that belong together."""

    place: Location = ("points",)
    needs: frozenset[str] = frozenset()

    def __init__(self, points: Sequence[Mapping[str, Any]]) -> None:
        self.paths = frozenset(path for point in points for path in point)
        self.size = len(points)
        self._choices = [
            [Setting(path, value, ("points", index, path), True) for path, value in point.items()]
            for index, point in enumerate(points)
        ]

    def choices(self, base: Mapping[str, Any], chosen: Mapping[str, Any]) -> Iterator[list[Setting]]:  # noqa: ARG002 as every dimension is asked
        return iter(self._choices)


@dataclass(frozen=True)
class Drawn:
    """One path of a space."""

    place: Location
    path: str
    distribution: Distribution
    paths: frozenset[str] = field(init=False)
    needs: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "paths", frozenset({self.path}))
        object.__setattr__(self, "needs", frozenset(self.distribution.when))


def space_in_order(space: Mapping[str, Distribution], place: Location) -> list[Drawn]:
    """Give the paths of a space so that each comes after those that its `when` names. Raises SpecError for a circle."""
    return in_order([Drawn((*place, path), path, distribution) for path, distribution in space.items()])


class _Draws:
    """The first different draws of an endless sequence."""

    place: Location = ("random",)

    def __init__(self, spec: RandomSpec) -> None:
        self._spec = spec
        self.paths = frozenset(spec.space)
        self.needs = frozenset(path for one in spec.space.values() for path in one.when) - self.paths
        self.size = spec.count

    def choices(self, base: Mapping[str, Any], chosen: Mapping[str, Any]) -> Iterator[list[Setting]]:
        space = space_in_order(self._spec.space, ("random", "space"))
        seen: set[str] = set()
        number = repeated = 0
        while len(seen) < self._spec.count:
            settings = self._draw(space, number, base, chosen)
            number += 1
            key = canonical_json([[setting.path, setting.value] for setting in settings])
            if key in seen:
                repeated += 1
                if repeated == _MOST_REPEATED:
                    raise _too_few(self._spec.count, len(seen))
                continue
            repeated = 0
            seen.add(key)
            yield settings

    def _draw(
        self, space: Sequence[Drawn], number: int, base: Mapping[str, Any], chosen: Mapping[str, Any]
    ) -> list[Setting]:
        known, settings = dict(chosen), []
        for one in space:
            if holds(one.distribution.when, base, known):
                value = draw(one.distribution, seed=self._spec.seed, number=number, path=one.path)
                known[one.path] = value
                settings.append(Setting(one.path, value, one.place, True))
        return settings


def _too_few(wanted: int, found: int) -> SpecError:
    sentence = (
        f"random.count is {wanted}, and after {found} different draws {_MOST_REPEATED} in a row repeated earlier ones; "
        f"lower it to {found}, or widen random.space."
    )
    return SpecError([Mistake(("random", "count"), sentence)])
