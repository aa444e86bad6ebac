"""One point of a sweep: a copy of the base with the point's settings, validated as a run.

A point starts as a copy of `base` and sets its paths, outer ones first and each mapping's `kind` before its other
fields. Where a point chooses a `kind`, the base's fields that belong to other kinds alone are left out (`relu` over a
base with an `estimator`); everything else stays, and what does not fit is refused. Knows no SQL and no HTTP.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prolu.spec import Mistake, RunSpec, SpecError, SweepSpec, Variant, digest_of, validate
from prolu.spec.places import find
from prolu.spec.run import digest_of_document
from service.domain.expansion.naming import describe, name_of
from service.domain.expansion.settings import Location, Setting


@dataclass(frozen=True)
class Point:
    """One run of a sweep, and where each of its settings stands in the sweep."""

    index: int
    name: str
    variant: str | None
    set: Mapping[str, Any]
    spec: RunSpec
    digest: str
    data_digest: str
    origins: Mapping[str, Location]

    def locate(self, location: Location) -> Location:
        """Say where in the sweep a place of the run was written: a grid's entry, a variant's value, or the base."""
        return _locate(self.origins, location)

    def __str__(self) -> str:
        return describe(self.index, self.set)


def change(document: Mapping[str, Any], changes: Mapping[str, Any], *, name: str) -> RunSpec:
    """Build a run like another, which is given as plain data, but for what `changes` sets by path, as a point does.

    Raises SpecError, with locations below `set`.
    """
    fixed = [path for path in changes if path.split(".")[0] in ("name", "version")]
    if fixed:
        raise SpecError(
            [Mistake(("set", path), f"set.{path} is not for this; give name beside set.") for path in fixed]
        )
    settings = [Setting(path, value, ("set", path), False) for path, value in changes.items()]
    try:
        return validate({**_applied(document, settings), "name": name}, RunSpec)
    except SpecError as error:
        mistakes = [Mistake(place_of_change(changes, mistake.location), mistake.sentence) for mistake in error.mistakes]
        raise SpecError(mistakes) from None


def place_of_change(changes: Mapping[str, Any], location: Location) -> Location:
    """Say where in `set` a place of the changed run was written, or `set` itself for what nobody changed."""
    place = _locate({path: ("set", path) for path in changes}, location)
    if place[0] == "set":
        return place
    outer = ".".join(map(str, location)) + "."
    return next((("set", path) for path in changes if path.startswith(outer)), ("set",))


def build(sweep: SweepSpec, index: int, variant: Variant | None, settings: Sequence[Setting]) -> Point:
    """Build and validate one point. Raises SpecError whose sentences name the point."""
    chosen = {setting.path: setting.value for setting in settings}
    origins = {setting.path: setting.origin for setting in settings}
    try:
        document = _applied(sweep.base, settings)
        if isinstance(document.get("name", ""), str):
            document["name"] = name_of(sweep, index, variant, settings)
        spec = validate(document, RunSpec)
    except SpecError as error:
        title = describe(index, chosen)
        raise SpecError(
            [Mistake(_locate(origins, mistake.location), f"{title}: {mistake.sentence}") for mistake in error.mistakes]
        ) from None
    plain = spec.model_dump(mode="json")
    return Point(
        index=index,
        name=spec.name,
        variant=variant.name if variant else None,
        set=chosen,
        spec=spec,
        digest=digest_of_document(plain),
        data_digest=digest_of(plain["data"]),
        origins=origins,
    )


def _applied(base: Mapping[str, Any], settings: Sequence[Setting]) -> dict[str, Any]:
    document: dict[str, Any] = copy.deepcopy(dict(base))
    paths = {setting.path for setting in settings}
    for setting in sorted(settings, key=_outer_and_kinds_first):
        *parents, last = setting.path.split(".")
        here = document
        for depth, part in enumerate(parents, start=1):
            inner = here.setdefault(part, {})
            if not isinstance(inner, dict):
                where = ".".join(parents[:depth])
                sentence = f"{setting.path} cannot be set, since {where} is not a mapping; correct the path or {where}."
                raise SpecError([Mistake(tuple(setting.path.split(".")), sentence)])
            here = inner
        here[last] = copy.deepcopy(setting.value)
        if last == "kind":
            _leave_out_other_kinds(document, tuple(parents), here, paths)
    return document


def _outer_and_kinds_first(setting: Setting) -> tuple[int, bool]:
    parts = setting.path.split(".")
    return len(parts), parts[-1] != "kind"


def _leave_out_other_kinds(document: dict[str, Any], parents: Location, here: dict[str, Any], paths: set[str]) -> None:
    """Drop the base's fields that only other kinds have; what the point sets itself stays, to be validated."""
    if any(".".join(map(str, parents[:depth])) in paths for depth in range(1, len(parents) + 1)):
        return  # the whole mapping was written by the point, not by the base
    loc = _tagged(document, parents)
    tags = find(RunSpec, loc).tags
    if here["kind"] not in tags:
        return
    own = _fields(loc, here["kind"])
    foreign = {name for tag in tags for name in _fields(loc, tag)} - own
    prefix = ".".join(map(str, parents))
    for name in foreign & here.keys():
        if not any(path == f"{prefix}.{name}" or path.startswith(f"{prefix}.{name}.") for path in paths):
            del here[name]


def _tagged(document: Mapping[str, Any], parents: Location) -> Location:
    """Write a location as pydantic does, with the kind of each outer mapping after its key."""
    loc: list[str | int] = []
    here: Any = document
    for depth, part in enumerate(parents, start=1):
        loc.append(part)
        here = here[part]
        if depth < len(parents) and here.get("kind") in find(RunSpec, loc).tags:
            loc.append(here["kind"])
    return tuple(loc)


def _fields(loc: Location, tag: str) -> set[str]:
    return set(find(RunSpec, (*loc, tag, "kind")).siblings)


def _locate(origins: Mapping[str, Location], location: Location) -> Location:
    for length in range(len(location), 0, -1):
        origin = origins.get(".".join(map(str, location[:length])))
        if origin is not None:
            return (*origin, *location[length:])
    return ("base", *location)
