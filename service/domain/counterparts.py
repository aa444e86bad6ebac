"""Which groups of a sweep differ in their variant alone, and by how much, seed by seed.

Two groups are counterparts if they agree in everything that varies within the variant of either: with the same grid, the points
at equal values of it; without one, the only points there are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar
from uuid import UUID

from prolu.client.wire import SeedEstimate
from service.domain.expansion import SEED
from service.domain.repeats import Group, Repetition, estimates

Run = TypeVar("Run", bound="Identified")


class Identified(Repetition, Protocol):
    """A run that can be told from others."""

    @property
    def id(self) -> UUID: ...


def counterparts(groups: Sequence[Group[Run]], against: str) -> dict[int, Group[Run]]:
    """Return the counterpart of each group among those of the variant `against`, by the group's point.

    Groups of that variant itself have none, nor has a group whose settings are not tried there.
    """
    theirs = [group for group in groups if group.variant == against]
    found: dict[int, Group[Run]] = {}
    for variant in dict.fromkeys(group.variant for group in groups if group.variant != against):
        mine = [group for group in groups if group.variant == variant]
        telling = _varied(mine) | _varied(theirs)
        tried = {_key(group, telling): group for group in theirs}
        found |= {group.point: tried[key] for group in mine if (key := _key(group, telling)) in tried}
    return found


def paired_differences(
    group: Group[Run], other: Group[Run], numbers: Mapping[UUID, Mapping[str, float]]
) -> dict[str, SeedEstimate]:
    """Estimate each number of `group` minus that of `other`, over the seeds for which both runs have numbers.

    A seed is the same initial weights for runs of equal shape, and the same order of data for all; so a difference seed by seed
    spreads less than the two means do.
    """
    theirs = {run.set.get(SEED): numbers[run.id] for run in other.runs if run.id in numbers}
    pairs = [
        (numbers[run.id], theirs[run.set.get(SEED)])
        for run in group.runs
        if run.id in numbers and run.set.get(SEED) in theirs
    ]
    return estimates([{name: one[name] - two[name] for name in one if name in two} for one, two in pairs])


def _varied(groups: Sequence[Group[Run]]) -> set[str]:
    """Return the settings that are not the same in all of them."""
    names = {name for group in groups for name in group.set}
    return {name for name in names if len({_key(group, {name}) for group in groups}) > 1}


def _key(group: Group[Run], names: set[str]) -> str:
    return json.dumps({name: group.set[name] for name in names if name in group.set}, sort_keys=True)
