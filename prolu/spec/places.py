"""Follow a pydantic location through a model, to the place in the document that it means.

pydantic puts the tag of a union between real keys: a wrong width is at `('sae', 'prolu', 'd_sae')`, where the
document has `sae.d_sae`. Only the model can tell such a tag from a key of the same name.
"""

from __future__ import annotations

import types
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, Tag

# Stands in a location after a key of a mapping that is itself wrong.
_KEY = "[key]"


@dataclass(frozen=True)
class Place:
    """Where a complaint stands, and what would be right there."""

    location: tuple[str | int, ...]
    """Keys and indices from the top of the document."""
    tag: str | None
    """The `kind` that the document chose for the value around this place, if there was a choice."""
    siblings: tuple[str, ...]
    """Fields that the value around this place may have, sorted."""
    tags: tuple[str, ...]
    """What `kind` may be at this place, sorted; empty where there is no choice."""
    is_key: bool
    """Whether the complaint is about the last key itself rather than about its value."""

    @property
    def parent(self) -> tuple[str | int, ...]:
        """Location of the value around this place."""
        return self.location[:-1]


def find(model: type[BaseModel], loc: Sequence[str | int]) -> Place:
    """Follow `loc` from the top of `model`. Parts that the model does not know are kept as they are."""
    location: list[str | int] = []
    here: Any = model
    within_mapping = is_key = False
    tag: str | None = None
    around_tag: str | None = None
    siblings: tuple[str, ...] = ()
    for part in loc:
        choice = _models(here)
        chosen = [member for member in choice if _tag(member) == part] if len(choice) > 1 else []
        if chosen:
            here, tag = chosen[0], str(part)
            continue
        if within_mapping and part == _KEY:
            is_key = True
            continue
        if (untagged := _plain_member(here, part)) is not None:
            here = untagged
            continue
        location.append(part)
        within_mapping = get_origin(here) is dict
        around_tag, tag = tag, None
        siblings = tuple(sorted(choice[0].model_fields)) if len(choice) == 1 else ()
        here = _inside(here, choice, part)
    tags = sorted(str(_tag(member)) for member in _models(here))
    return Place(tuple(location), around_tag, siblings, tuple(tags) if len(tags) > 1 else (), is_key)


def _inside(here: Any, choice: list[type[BaseModel]], part: str | int) -> Any:
    """Give the type of the value at `part` of a value of type `here`; None where it is not known."""
    if len(choice) == 1:
        field = choice[0].model_fields.get(str(part))
        return _bare(field.annotation) if field else None
    arguments = get_args(here)
    return _bare(arguments[-1]) if get_origin(here) in (list, dict) and arguments else None


def _bare(annotation: Any) -> Any:
    """Take off `Annotated[...]` and `... | None`."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        members = [member for member in get_args(annotation) if member is not types.NoneType]
        return _bare(members[0]) if len(members) == 1 else annotation
    return annotation


def _plain_member(annotation: Any, part: str | int) -> Any:
    """Give the member of a union that is no model and that pydantic calls `part`, if there is one."""
    for member in get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else ():
        bare = _bare(member)
        if any(isinstance(mark, Tag) and mark.tag == part for mark in get_args(member)[1:]) and not _models(bare):
            return bare
    return None


def _models(annotation: Any) -> list[type[BaseModel]]:
    """List the models that a value of this type may be: several for a union, none for plain values."""
    members = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else [annotation]
    models = [_bare(member) for member in members]
    return [model for model in models if isinstance(model, type) and issubclass(model, BaseModel)]


def _tag(model: type[BaseModel]) -> Any:
    field = model.model_fields.get("kind")
    return field.default if field is not None else None
