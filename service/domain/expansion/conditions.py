"""Conditions of dimensions: what `when` asks of the other places of a point, and the order that it makes.

Knows no SQL and no HTTP.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from prolu.spec import Mistake, SpecError, canonical_json
from service.domain.expansion.settings import Location

_NOTHING = object()


class Conditional(Protocol):
    """Something that sets paths, and may have to know others before."""

    @property
    def place(self) -> Location:
        """Where the sweep describes it."""

    @property
    def paths(self) -> frozenset[str]:
        """What it may set."""

    @property
    def needs(self) -> frozenset[str]:
        """What decides whether it holds."""


Some = TypeVar("Some", bound=Conditional)


def holds(when: Mapping[str, Any], base: Mapping[str, Any], chosen: Mapping[str, Any]) -> bool:
    """Whether each path has its value, or one of its values where that is a list; what the point sets goes before the base."""
    return all(_is_one_of(value_at(path, base, chosen), wanted) for path, wanted in when.items())


def value_at(path: str, base: Mapping[str, Any], chosen: Mapping[str, Any]) -> Any:
    """Give what a point has at `path`, by its settings or by the base; an object that equals nothing where it has nothing."""
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        outer = ".".join(parts[:length])
        if outer in chosen:
            return _inside(chosen[outer], parts[length:])
    return _inside(base, parts)


def in_order(dimensions: Sequence[Some]) -> list[Some]:
    """Put each after those that set what it needs, and leave the order as it is otherwise. Raises SpecError for a circle."""
    waiting, ordered = list(dimensions), []
    while waiting:
        ready = next((one for one in waiting if not _awaits(one, waiting)), None)
        if ready is None:
            where = " and ".join(".".join(map(str, one.place)) for one in waiting)
            sentence = f"{where} wait for each other by their `when`; let one of them hold everywhere."
            raise SpecError([Mistake((*waiting[0].place, "when"), sentence)])
        waiting.remove(ready)
        ordered.append(ready)
    return ordered


def related(one: str, other: str) -> bool:
    """Whether one of two paths lies within the other, or they are the same."""
    return one == other or one.startswith(f"{other}.") or other.startswith(f"{one}.")


def _awaits(one: Some, waiting: Iterable[Some]) -> bool:
    return any(
        other is not one and any(related(needed, path) for needed in one.needs for path in other.paths)
        for other in waiting
    )


def _inside(value: Any, parts: Sequence[str]) -> Any:
    for part in parts:
        if not isinstance(value, Mapping) or part not in value:
            return _NOTHING
        value = value[part]
    return value


def _is_one_of(value: Any, wanted: Any) -> bool:
    if value is _NOTHING:
        return False
    accepted = wanted if isinstance(wanted, list) else [wanted]
    return canonical_json(value) in {canonical_json(one) for one in accepted}
