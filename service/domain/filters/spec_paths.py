"""The paths of a run's spec and their types, walked out of the models of the job language.

A union has the paths of all its members: `spec.sae.k` is there for the TopK kinds, and missing in the others.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from prolu.spec import RunSpec

Kind = Literal["text", "integer", "number", "boolean", "time", "identity", "texts", "list", "mapping"]

_PLAIN: dict[Any, Kind] = {str: "text", int: "integer", float: "number", bool: "boolean"}


@dataclass(frozen=True, slots=True)
class SpecPlace:
    """What stands at a path of the spec."""

    kind: Kind
    """Its type; `mapping` for a part that has paths of its own."""
    choices: tuple[str, ...] = ()
    """All texts that may stand there, if the language names them."""

    def joined(self, other: SpecPlace) -> SpecPlace:
        """What stands there if one member of a union says this and another that. Raises TypeError if nothing is both."""
        if {self.kind, other.kind} == {"integer", "number"}:
            return SpecPlace("number")
        if self.kind != other.kind:
            raise TypeError(f"A path of the spec is {self.kind} in one member of a union and {other.kind} in another.")
        few = self.choices and other.choices
        return SpecPlace(self.kind, tuple(dict.fromkeys(self.choices + other.choices)) if few else ())


@cache
def spec_paths() -> Mapping[str, SpecPlace]:
    """What stands at each path of a run's spec, in the order of the language."""
    found: dict[str, SpecPlace] = {}
    for path, place in _below(RunSpec, ""):
        found[path] = found[path].joined(place) if path in found else place
    return found


def _below(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, SpecPlace]]:
    for name, field in model.model_fields.items():
        yield from _at(field.annotation, f"{prefix}{name}")


def _at(annotation: Any, path: str) -> Iterator[tuple[str, SpecPlace]]:
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _at(get_args(annotation)[0], path)
    elif origin in (Union, types.UnionType):
        for member in get_args(annotation):
            if member is not types.NoneType:
                yield from _at(member, path)
    elif origin is Literal:
        values = get_args(annotation)
        texts = all(isinstance(value, str) for value in values)
        yield path, SpecPlace("text", values) if texts else SpecPlace(_PLAIN[type(values[0])])
    elif origin is list:
        yield path, _list_of(get_args(annotation)[0])
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield path, SpecPlace("mapping")
        yield from _below(annotation, f"{path}.")
    else:
        yield path, SpecPlace(_PLAIN[annotation])


def _list_of(item: Any) -> SpecPlace:
    if get_origin(item) is Literal:
        return SpecPlace("texts", get_args(item))
    return SpecPlace("list")
