"""What a trial is, and which points of a space are tried for size before it is searched. Knows no SQL and no sampler."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prolu.client.wire import TrialState
from prolu.spec import Choice, Distribution, Mistake, SearchSpec, SpecError, SweepSpec, canonical_json
from service.domain.expansion import Point, Setting, build, refuse_unseen_stopping
from service.domain.expansion.conditions import holds
from service.domain.expansion.dimensions import space_in_order
from service.domain.expansion.drawing import draw
from service.domain.expansion.refusals import first_at_each_place

PLACE = ("search", "space")
_DRAWN_PROBES = 16
_MOST_PROBES = 200


@dataclass(frozen=True)
class Trial:
    """A point that was asked for, as its study remembers it."""

    number: int
    state: TrialState
    params: Mapping[str, Any] = field(default_factory=dict)
    """What the sampler chose, by path: numbers, and of a choice its index."""
    distributions: Mapping[str, Any] = field(default_factory=dict)
    """Of what it chose, as the sampler's library writes them."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """What the sampler noted."""
    values: Sequence[float] | None = None
    """Objectives in their order, of a complete trial."""
    intermediate: tuple[int, float] | None = None
    """Of a pruned trial, the step at which its only objective was judged, and its value there."""


@dataclass(frozen=True)
class Asked:
    """What a sampler chose for the next trial."""

    set: Mapping[str, Any]
    """By path, as a run has it."""
    params: Mapping[str, Any]
    distributions: Mapping[str, Any]
    attributes: Mapping[str, Any]

    def settings(self) -> list[Setting]:
        """The settings of its point, and where the sweep says what they may be."""
        return [Setting(path, value, (*PLACE, path), True) for path, value in self.set.items()]


def chosen_by(
    search: SearchSpec, base: Mapping[str, Any], choose: Callable[[str, Distribution], Any]
) -> dict[str, Any]:
    """Have every path of the space chosen that holds, those first on which others wait."""
    chosen: dict[str, Any] = {}
    for one in space_in_order(search.space, PLACE):
        if holds(one.distribution.when, base, chosen):
            chosen[one.path] = choose(one.path, one.distribution)
    return chosen


def probes(sweep: SweepSpec, search: SearchSpec) -> list[Point]:
    """Build points of a search at the ends of its space, at every choice, and a few between, as runs.

    Raises SpecError, with locations in the sweep: what is wrong with them would be wrong with what a sampler chooses.
    """
    points: dict[str, Point] = {}
    mistakes: list[Mistake] = []
    for index, chosen in enumerate(_probed(search, sweep.base)):
        try:
            point = build(sweep, index, None, Asked(chosen, {}, {}, {}).settings())
        except SpecError as error:
            mistakes += error.mistakes
        else:
            points.setdefault(point.digest, point)
        if index + 1 == _MOST_PROBES:
            break
    if mistakes:
        raise SpecError(first_at_each_place(mistakes))
    refuse_unseen_stopping(sweep, list(points.values()))
    return list(points.values())


def _probed(search: SearchSpec, base: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    seen: set[str] = set()

    def new(choose: Callable[[str, Distribution], Any]) -> Iterator[dict[str, Any]]:
        chosen = chosen_by(search, base, choose)
        if (key := canonical_json(chosen)) not in seen:
            seen.add(key)
            yield chosen

    yield from new(lambda _, distribution: _ends(distribution)[0])
    yield from new(lambda _, distribution: _ends(distribution)[-1])
    for path, distribution in search.space.items():
        for value in _ends(distribution):

            def choose(at: str, other: Distribution, path: str = path, value: Any = value) -> Any:
                return value if at == path else _ends(other)[0]

            yield from new(choose)
    for number in range(_DRAWN_PROBES):

        def drawn(at: str, other: Distribution, number: int = number) -> Any:
            return draw(other, seed=0, number=number, path=at)

        yield from new(drawn)


def _ends(distribution: Distribution) -> list[Any]:
    if isinstance(distribution, Choice):
        return list(distribution.values)
    low, high = distribution.low, distribution.high
    return [low, high] if distribution.kind == "integer" else [float(low), float(high)]
