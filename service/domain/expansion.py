"""What a sweep means: every alternative with every combination of its grid and the sweep's, each a validated run.

`seeds` is one more list, of `training.seed`, that varies fastest: repetitions of a point stand beside each other.

A point starts as a copy of `base` and sets its paths, outer ones first and each mapping's `kind` before its other
fields. Where a point chooses a `kind`, the base's fields that belong to other kinds alone are left out (`relu` over a
base with an `estimator`); everything else stays, and what does not fit is refused. Knows no SQL and no HTTP.
"""

from __future__ import annotations

import copy
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prolu.spec import Mistake, RunSpec, SpecError, SweepSpec, Variant, validate
from prolu.spec.places import find

MOST_POINTS = 10_000
SEED = "training.seed"
# So many bad points are explained; the others are most likely wrong for the same reasons.
_MOST_BAD_POINTS = 10
_NAME_LENGTH = 200
_VALUE_LENGTH = 40

Location = tuple[str | int, ...]


@dataclass(frozen=True)
class Point:
    """One run of a sweep, and where each of its settings stands in the sweep."""

    index: int
    name: str
    variant: str | None
    set: Mapping[str, Any]
    spec: RunSpec
    digest: str
    origins: Mapping[str, Location]

    def locate(self, location: Location) -> Location:
        """Say where in the sweep a place of the run was written: a grid's entry, a variant's value, or the base."""
        return _locate(self.origins, location)

    def __str__(self) -> str:
        return describe(self.index, self.set)


@dataclass(frozen=True)
class _Setting:
    """One path that a point sets, and where the sweep says so."""

    path: str
    value: Any
    origin: Location
    in_grid: bool


def expand(sweep: SweepSpec) -> list[Point]:
    """Give the points of a sweep in order, the last path of the grid varying fastest, and seeds faster still.

    Raises SpecError, with locations in the sweep, for an ambiguous path, too many points, a point that is no run,
    and two points that are the same run.
    """
    _refuse_ambiguity(sweep)
    _refuse_too_many(sweep)
    points: list[Point] = []
    mistakes: list[Mistake] = []
    bad = 0
    for index, (variant, settings) in enumerate(_settings(sweep)):
        try:
            points.append(_point(sweep, index, variant, settings))
        except SpecError as error:
            mistakes += error.mistakes
            bad += 1
            if bad == _MOST_BAD_POINTS:
                break
    if mistakes:
        raise SpecError(_first_at_each_place(mistakes))
    _refuse_repetition(points)
    return points


def count(sweep: SweepSpec) -> int:
    """How many points a sweep has, without making them."""
    shared = math.prod(len(values) for values in sweep.grid.values()) * max(1, len(sweep.seeds))
    alternatives = sweep.variants or [Variant(name="-")]
    return sum(shared * math.prod(len(values) for values in variant.grid.values()) for variant in alternatives)


def change(document: Mapping[str, Any], changes: Mapping[str, Any], *, name: str) -> RunSpec:
    """Build a run like another, which is given as plain data, but for what `changes` sets by path, as a point does.

    Raises SpecError, with locations below `set`.
    """
    fixed = [path for path in changes if path.split(".")[0] in ("name", "version")]
    if fixed:
        raise SpecError(
            [Mistake(("set", path), f"set.{path} is not for this; give name beside set.") for path in fixed]
        )
    settings = [_Setting(path, value, ("set", path), False) for path, value in changes.items()]
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


def _refuse_ambiguity(sweep: SweepSpec) -> None:
    mistakes: list[Mistake] = []
    names: dict[str, int] = {}
    for index, variant in enumerate(sweep.variants):
        if variant.name in names:
            sentence = (
                f"variants.{index}.name is {variant.name!r}, as is variants.{names[variant.name]}.name; rename one."
            )
            mistakes.append(Mistake(("variants", index, "name"), sentence))
        names.setdefault(variant.name, index)
    for places in _places_by_alternative(sweep):
        if sweep.seeds:
            mistakes += [_seed_twice(place) for path, place in places if _sets_seed(sweep, path, place)]
        seen: dict[str, Location] = {}
        for path, place in places:
            where = ".".join(map(str, place[:-1]))
            if path in seen:
                other = ".".join(map(str, seen[path][:-1]))
                mistakes.append(Mistake(place, f"{where} sets {path}, and so does {other}; keep one of the two."))
            if path.split(".")[0] in ("name", "version"):
                mistakes.append(Mistake(place, f"{where} sets {path}, which no sweep varies; remove it."))
            seen[path] = place
    if mistakes:
        raise SpecError(_first_at_each_place(mistakes))


def _sets_seed(sweep: SweepSpec, path: str, place: Location) -> bool:
    """Whether a path sets the seed that `seeds` repeats: by itself, or within the whole of `training`."""
    if path != "training":
        return path == SEED
    at: Any = sweep.grid if place[0] == "grid" else getattr(sweep.variants[int(place[1])], str(place[2]))
    values = at[path] if "grid" in place[:-1] else [at[path]]
    return any(isinstance(value, dict) and "seed" in value for value in values)


def _seed_twice(place: Location) -> Mistake:
    where = ".".join(map(str, place[:-1]))
    sentence = f"{where} sets {SEED}, which seeds repeats every point over; keep one of the two."
    return Mistake(place, sentence)


def _places_by_alternative(sweep: SweepSpec) -> Iterator[list[tuple[str, Location]]]:
    """Give, for each alternative, every path that it sets and where the sweep says so."""
    shared: list[tuple[str, Location]] = [(path, ("grid", path)) for path in sweep.grid]
    if not sweep.variants:
        yield shared
    for index, variant in enumerate(sweep.variants):
        fixed: list[tuple[str, Location]] = [(path, ("variants", index, "set", path)) for path in variant.set]
        own: list[tuple[str, Location]] = [(path, ("variants", index, "grid", path)) for path in variant.grid]
        yield shared + fixed + own


def _refuse_too_many(sweep: SweepSpec) -> None:
    points = count(sweep)
    if points > MOST_POINTS:
        sentence = (
            f"The sweep has {points} points; at most {MOST_POINTS} are allowed. Shorten a grid or split the sweep."
        )
        raise SpecError([Mistake((), sentence)])


def _settings(sweep: SweepSpec) -> Iterator[tuple[Variant | None, list[_Setting]]]:
    shared = [
        [_Setting(path, value, ("grid", path, index), True) for index, value in enumerate(values)]
        for path, values in sweep.grid.items()
    ]
    if sweep.seeds:
        shared.append([_Setting(SEED, seed, ("seeds", index), True) for index, seed in enumerate(sweep.seeds)])
    if not sweep.variants:
        for combination in itertools.product(*shared):
            yield None, list(combination)
    for number, variant in enumerate(sweep.variants):
        place = ("variants", number)
        fixed = [_Setting(path, value, (*place, "set", path), False) for path, value in variant.set.items()]
        own = [
            [_Setting(path, value, (*place, "grid", path, index), True) for index, value in enumerate(values)]
            for path, values in variant.grid.items()
        ]
        for combination in itertools.product(*own, *shared):
            yield variant, fixed + list(combination)


def _point(sweep: SweepSpec, index: int, variant: Variant | None, settings: Sequence[_Setting]) -> Point:
    """Build and validate one point. Raises SpecError whose sentences name the point."""
    chosen = {setting.path: setting.value for setting in settings}
    origins = {setting.path: setting.origin for setting in settings}
    try:
        document = _applied(sweep.base, settings)
        if isinstance(document.get("name", ""), str):
            document["name"] = _name(sweep, index, variant, settings)
        spec = validate(document, RunSpec)
    except SpecError as error:
        title = describe(index, chosen)
        raise SpecError(
            [Mistake(_locate(origins, mistake.location), f"{title}: {mistake.sentence}") for mistake in error.mistakes]
        ) from None
    return Point(index, spec.name, variant.name if variant else None, chosen, spec, spec.digest(), origins)


def _applied(base: Mapping[str, Any], settings: Sequence[_Setting]) -> dict[str, Any]:
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


def _outer_and_kinds_first(setting: _Setting) -> tuple[int, bool]:
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


def _name(sweep: SweepSpec, index: int, variant: Variant | None, settings: Sequence[_Setting]) -> str:
    """Write `demo/prolu-ste/coefficient=0.001`: sweep, alternative, and what the grids vary."""
    varied = [setting for setting in settings if setting.in_grid]
    labels = _labels([setting.path for setting in varied])
    values = ",".join(f"{label}={_short(setting.value)}" for label, setting in zip(labels, varied, strict=True))
    title = sweep.name or sweep.base.get("name", "")
    name = "/".join(part for part in (title, variant.name if variant else "", values) if part)
    if len(name) <= _NAME_LENGTH:
        return name
    ending = f"… #{index}"
    return name[: _NAME_LENGTH - len(ending)] + ending


def _labels(paths: Sequence[str]) -> list[str]:
    """Shorten each path to the fewest last parts that tell it from the others."""

    def ending(path: str, length: int) -> str:
        return ".".join(path.split(".")[-length:])

    labels = []
    for path in paths:
        parts = path.split(".")
        length = min(2, len(parts)) if parts[-1] == "kind" else 1
        while length < len(parts) and sum(ending(other, length) == ending(path, length) for other in paths) > 1:
            length += 1
        labels.append(ending(path, length))
    return labels


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    printable = "".join(character if character.isprintable() else "�" for character in text)
    return printable if len(printable) <= _VALUE_LENGTH else printable[: _VALUE_LENGTH - 1] + "…"


def describe(index: int, chosen: Mapping[str, Any]) -> str:
    """Name a point for people: its index, and what it sets."""
    settings = ", ".join(f"{path}={_short(value)}" for path, value in chosen.items())
    return f"Point {index} ({settings})" if settings else f"Point {index}"


def _refuse_repetition(points: Sequence[Point]) -> None:
    first: dict[str, Point] = {}
    mistakes: list[Mistake] = []
    for point in points:
        twin = first.setdefault(point.digest, point)
        if twin is not point and len(mistakes) < _MOST_BAD_POINTS:
            mistakes.append(Mistake((), f"{point} and {twin} are the same run; remove one of the two."))
    if mistakes:
        raise SpecError(mistakes)


def _first_at_each_place(mistakes: Sequence[Mistake]) -> list[Mistake]:
    """Many points are wrong for one reason, which is said once."""
    kept: dict[Location, Mistake] = {}
    for mistake in mistakes:
        kept.setdefault(mistake.location, mistake)
    return list(kept.values())
