"""How a sweep grows: which points of its new description are there already, and which come to it. Knows no SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prolu.spec import Mistake
from service.domain.errors import Invalid
from service.domain.expansion import Point, describe

_MOST_NAMED = 10


@dataclass(frozen=True)
class Present:
    """A point that the sweep has: its place, what makes it this run, and what it is said to set."""

    point: int
    digest: str
    variant: str | None
    set: Mapping[str, Any]


@dataclass(frozen=True)
class Growth:
    """What a new description adds to a sweep."""

    added: Sequence[Point]
    described_anew: Mapping[int, Mapping[str, Any]]
    """What present points, by their place, are said to set now: the same run, with `seeds` or a grid that name more of it."""


def growth(points: Sequence[Point], present: Sequence[Present]) -> Growth:
    """Compare a new description with what is there: a point is the same if its run and its alternative are.

    Raises Invalid, which names points of the sweep that the new description lacks.
    """
    new = {(point.digest, point.variant): point for point in points}
    missing = [old for old in present if (old.digest, old.variant) not in new]
    if missing:
        raise _only_grows(missing)
    there = {(old.digest, old.variant) for old in present}
    return Growth(
        added=[point for key, point in new.items() if key not in there],
        described_anew={
            old.point: point.set for old in present if (point := new[old.digest, old.variant]).set != old.set
        },
    )


def _only_grows(missing: Sequence[Present]) -> Invalid:
    named = "; ".join(
        describe(old.point, old.set) + (f" of {old.variant}" if old.variant else "") for old in missing[:_MOST_NAMED]
    )
    more = f"; and {len(missing) - _MOST_NAMED} more" if len(missing) > _MOST_NAMED else ""
    sentence = (
        f"The new description lacks {len(missing)} of the sweep's points, and a sweep only grows: {named}{more}. "
        "Put them back as they were, or submit a new sweep."
    )
    return Invalid(sentence, [Mistake(("spec",), sentence)])
