"""All points of a sweep, or the sentences that say why it has none."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from prolu.spec import Mistake, SpecError, SweepSpec, Variant
from service.domain.expansion.dimensions import Alternative, alternatives
from service.domain.expansion.points import Point, build
from service.domain.expansion.refusals import first_at_each_place, refuse_ambiguity, refuse_unknown_conditions
from service.domain.expansion.settings import Setting

MOST_POINTS = 10_000
# So many bad points are explained; the others are most likely wrong for the same reasons.
_MOST_BAD_POINTS = 10


def expand(sweep: SweepSpec) -> list[Point]:
    """Give the points of a sweep in order, the last path of the grid varying fastest, and seeds faster still.

    A sweep that searches has none yet. Raises SpecError, with locations in the sweep, for an ambiguous path, a condition that is
    never met, too many points, a point that is no run, and two points that are the same run.
    """
    refuse_ambiguity(sweep)
    refuse_unknown_conditions(sweep)
    if sweep.search is not None:
        return []
    parts = alternatives(sweep)
    _refuse_too_many(sweep, parts)
    points: list[Point] = []
    mistakes: list[Mistake] = []
    bad = 0
    for index, (variant, settings) in enumerate(_settings(sweep, parts)):
        try:
            points.append(build(sweep, index, variant, settings))
        except SpecError as error:
            mistakes += error.mistakes
            bad += 1
            if bad == _MOST_BAD_POINTS:
                break
    if mistakes:
        raise SpecError(first_at_each_place(mistakes))
    _refuse_dimensions_that_never_hold(parts, points)
    _refuse_repetition(points)
    refuse_unseen_stopping(sweep, points)
    return points


def count(sweep: SweepSpec) -> int:
    """How many points a sweep has, without making them."""
    parts = alternatives(sweep)
    if any(part.has_conditions for part in parts):
        return sum(1 for _ in _settings(sweep, parts))
    return sum(part.most for part in parts)


def refuse_unseen_stopping(sweep: SweepSpec, points: Sequence[Point]) -> None:
    """Raise SpecError where early stopping would judge evaluations and a point has none before its end: nothing would stop."""
    rule = sweep.early_stopping
    if rule is None or rule.split == "train":
        return
    for point in points:
        if point.spec.training.evaluate_every_steps is None:
            sentence = (
                f"early_stopping.split is held_out, and {point} is evaluated only at its end; "
                "set training.evaluate_every_steps in the base, or judge split train."
            )
            raise SpecError([Mistake(("early_stopping", "split"), sentence)])


def _settings(sweep: SweepSpec, parts: Sequence[Alternative]) -> Iterator[tuple[Variant | None, list[Setting]]]:
    for part in parts:
        for settings in part.combinations(sweep.base):
            yield part.variant, settings


def _refuse_too_many(sweep: SweepSpec, parts: Sequence[Alternative]) -> None:
    points = sum(part.most for part in parts)
    if points <= MOST_POINTS:
        return
    said = str(points)
    if any(part.has_conditions for part in parts):
        if sum(1 for _ in itertools.islice(_settings(sweep, parts), MOST_POINTS + 1)) <= MOST_POINTS:
            return
        said = f"more than {MOST_POINTS}"
    sentence = f"The sweep has {said} points; at most {MOST_POINTS} are allowed. Shorten a grid or split the sweep."
    raise SpecError([Mistake((), sentence)])


def _refuse_dimensions_that_never_hold(parts: Sequence[Alternative], points: Sequence[Point]) -> None:
    """A misspelt value of a condition would leave its dimension out without a word. Draws are left to chance."""
    used = {origin[: len(origin) - back] for point in points for origin in point.origins.values() for back in range(3)}
    places = {
        dimension.place: sorted(dimension.needs) for part in parts for dimension in part.dimensions if dimension.needs
    }
    mistakes = []
    for place, needs in places.items():
        if place not in used and place != ("random",):
            where = ".".join(map(str, place))
            sentence = f"{where} holds in no point: {', '.join(needs)} never has what {where}.when asks; correct it."
            mistakes.append(Mistake((*place, "when"), sentence))
    if mistakes:
        raise SpecError(mistakes)


def _refuse_repetition(points: Sequence[Point]) -> None:
    first: dict[str, Point] = {}
    mistakes: list[Mistake] = []
    for point in points:
        twin = first.setdefault(point.digest, point)
        if twin is not point and len(mistakes) < _MOST_BAD_POINTS:
            mistakes.append(Mistake((), f"{point} and {twin} are the same run; remove one of the two."))
    if mistakes:
        raise SpecError(mistakes)
