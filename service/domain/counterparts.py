"""Which groups of a sweep differ in their variant alone, and by how much, seed by seed.

Two groups are counterparts if they train at the same level, which is what decides how sparse they become, and agree in
everything else that varies within the variant of either: with the same grid, the points at equal values of it; without one, the
only points there are. A level counts whether it is set or left to the base; any other setting that tells must be set by both.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar
from uuid import UUID

from prolu.client.wire import SeedEstimate, SparsityLevel
from service.domain.expansion import SEED
from service.domain.repeats import Group, Repetition, estimates

Run = TypeVar("Run", bound="Identified")

# Where a level of each kind is written.
_PLACES = {"coefficient": "sparsity.coefficient", "k": "sae.k", "target_l0": "sparsity.controller.target_l0"}


class Identified(Repetition, Protocol):
    """A run that can be told from others."""

    @property
    def id(self) -> UUID: ...


def counterparts(
    groups: Sequence[Group[Run]], against: str, *, level_of: Callable[[Group[Run]], SparsityLevel | None]
) -> dict[int, Group[Run]]:
    """Return the counterpart of each group among those of the variant `against`, by the group's point.

    Groups of that variant itself have none, nor has a group whose level or settings are not tried there. Numbers are equal as
    numbers: 1 is 1.0, but neither true nor "1".
    """

    def key(group: Group[Run], telling: set[str]) -> str:
        level = level_of(group)
        if level is None:
            return _text([None, _chosen(group, telling)])
        return _text([level.kind, level.value, _chosen(group, telling - {_PLACES[level.kind]})])

    theirs = [group for group in groups if group.variant == against]
    found: dict[int, Group[Run]] = {}
    for variant in dict.fromkeys(group.variant for group in groups if group.variant != against):
        mine = [group for group in groups if group.variant == variant]
        telling = _varied(mine) | _varied(theirs)
        tried = {key(group, telling): group for group in theirs}
        found |= {group.point: tried[one] for group in mine if (one := key(group, telling)) in tried}
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
    return {name for name in names if len({_text(_chosen(group, {name})) for group in groups}) > 1}


def _chosen(group: Group[Run], names: set[str]) -> dict[str, Any]:
    return {name: group.set[name] for name in names if name in group.set}


def _text(value: Any) -> str:
    """Write plain data so that equal values are equal text."""
    return json.dumps(_whole(value), sort_keys=True)


def _whole(value: Any) -> Any:
    """Turn floats that are whole into integers, of which none is too long to be told from its neighbour."""
    if isinstance(value, dict):
        return {name: _whole(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_whole(part) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
