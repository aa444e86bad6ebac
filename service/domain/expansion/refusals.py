"""What is wrong with a sweep before any point is made: paths that are set twice, and conditions on what nobody sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prolu.spec import Mistake, SpecError, SweepSpec
from service.domain.expansion.conditions import related
from service.domain.expansion.series import values_of
from service.domain.expansion.settings import SEED, Location

# A path that an alternative sets, where, and what it may be set to.
_Written = tuple[str, Location, Sequence[Any]]


def refuse_ambiguity(sweep: SweepSpec) -> None:
    """Raise SpecError for variants of one name, and for paths that are set twice, or that no sweep varies."""
    mistakes: list[Mistake] = []
    names: dict[str, int] = {}
    for index, variant in enumerate(sweep.variants):
        if variant.name in names:
            sentence = (
                f"variants.{index}.name is {variant.name!r}, as is variants.{names[variant.name]}.name; rename one."
            )
            mistakes.append(Mistake(("variants", index, "name"), sentence))
        names.setdefault(variant.name, index)
    for written in _by_alternative(sweep):
        mistakes += _set_twice(written, seeds=bool(sweep.seeds))
    if mistakes:
        raise SpecError(first_at_each_place(mistakes))


def refuse_unknown_conditions(sweep: SweepSpec) -> None:
    """Raise SpecError for a `when` on a place that neither the base nor anything of the sweep sets."""
    written = [path for alternative in _by_alternative(sweep) for path, _, _ in alternative]
    mistakes = []
    for place, when in _conditions(sweep):
        for path in when:
            if not _is_in(sweep.base, path) and not any(related(path, other) for other in written):
                where = ".".join(map(str, place))
                sentence = f"{where}.when names {path}, which neither the base nor the sweep sets; set it in the base."
                mistakes.append(Mistake((*place, "when", path), sentence))
    if mistakes:
        raise SpecError(mistakes)


def first_at_each_place(mistakes: Sequence[Mistake]) -> list[Mistake]:
    """Many points are wrong for one reason, which is said once."""
    kept: dict[Location, Mistake] = {}
    for mistake in mistakes:
        kept.setdefault(mistake.location, mistake)
    return list(kept.values())


def _set_twice(written: Sequence[_Written], *, seeds: bool) -> Iterator[Mistake]:
    seen: dict[str, Location] = {}
    for path, place, values in written:
        where = ".".join(map(str, place[:-1]))
        if seeds and (
            path == SEED or (path == "training" and any(isinstance(one, dict) and "seed" in one for one in values))
        ):
            yield Mistake(place, f"{where} sets {SEED}, which seeds repeats every point over; keep one of the two.")
        if path in seen:
            other = ".".join(map(str, seen[path][:-1]))
            yield Mistake(place, f"{where} sets {path}, and so does {other}; keep one of the two.")
        if path.split(".")[0] in ("name", "version"):
            yield Mistake(place, f"{where} sets {path}, which no sweep varies; remove it.")
        seen[path] = place


def _by_alternative(sweep: SweepSpec) -> Iterator[list[_Written]]:
    """Give, for each alternative, every path that it sets."""
    shared: list[_Written] = [(path, ("grid", path), values_of(values)) for path, values in sweep.grid.items()]
    together: dict[str, _Written] = {}
    for index, point in enumerate(sweep.points):
        for path in point:
            values = [other[path] for other in sweep.points if path in other] if path not in together else []
            together.setdefault(path, (path, ("points", index, path), values))
    shared += together.values()
    for name in ("random", "search"):
        part = getattr(sweep, name)
        for path, distribution in {} if part is None else part.space.items():
            shared.append((path, (name, "space", path), getattr(distribution, "values", ())))
    if not sweep.variants:
        yield shared
    for index, variant in enumerate(sweep.variants):
        fixed: list[_Written] = [(path, ("variants", index, "set", path), [at]) for path, at in variant.set.items()]
        own: list[_Written] = [
            (path, ("variants", index, "grid", path), values_of(values)) for path, values in variant.grid.items()
        ]
        yield shared + fixed + own


def _conditions(sweep: SweepSpec) -> Iterator[tuple[Location, Mapping[str, Any]]]:
    described: list[tuple[Location, Any]] = [(("grid", path), values) for path, values in sweep.grid.items()]
    for index, variant in enumerate(sweep.variants):
        described += [(("variants", index, "grid", path), values) for path, values in variant.grid.items()]
    for name in ("random", "search"):
        part = getattr(sweep, name)
        described += [((name, "space", path), one) for path, one in ({} if part is None else part.space).items()]
    for place, dimension in described:
        yield place, getattr(dimension, "when", {})


def _is_in(base: Any, path: str) -> bool:
    for part in path.split("."):
        if not isinstance(base, dict) or part not in base:
            return False
        base = base[part]
    return True
