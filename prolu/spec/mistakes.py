"""Turn a failed validation into sentences that say what, got, do; for the API and the command line alike.

    SpecError
     └─ holds one `Mistake` per thing that is wrong

Knows the shape of pydantic's errors, and nothing of HTTP or files.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

_GOT_LENGTH = 80


@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong: where it stands in the document, and a sentence about it."""

    location: tuple[str | int, ...]
    sentence: str

    @property
    def path(self) -> str:
        """The place as people write it: `sparsity.coefficient`."""
        return ".".join(str(part) for part in self.location)

    @property
    def pointer(self) -> str:
        """The place as a JSON pointer (RFC 6901): `/sparsity/coefficient`."""
        return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in self.location)


class SpecError(ValueError):
    """A spec is wrong; `mistakes` says where and why."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__(" ".join(mistake.sentence for mistake in self.mistakes))


def explain(error: ValidationError, document: Any, model: type[BaseModel]) -> list[Mistake]:
    """Say each of pydantic's complaints about `document` in a sentence; `model` gives the names that would be right."""
    mistakes = []
    for complaint in error.errors(include_url=False):
        location = _place(complaint["loc"], document)
        mistakes.append(Mistake(location, _sentence(complaint, location, model)))
    return mistakes


def _place(loc: tuple[int | str, ...], document: Any) -> tuple[str | int, ...]:
    """Drop the union tags that pydantic puts between real keys, so that the place exists in the document."""
    place: list[str | int] = []
    here = document
    for index, part in enumerate(loc):
        last = index == len(loc) - 1
        if isinstance(here, dict) and part in here:
            here = here[part]
        elif isinstance(here, list) and isinstance(part, int) and part < len(here):
            here = here[part]
        elif not last or not isinstance(here, dict) or part == here.get("kind"):
            continue
        place.append(part)
    return tuple(place)


def _sentence(complaint: Any, location: tuple[str | int, ...], model: type[BaseModel]) -> str:
    where = ".".join(str(part) for part in location) or "the document"
    kind, context, got = complaint["type"], complaint.get("ctx", {}), _shown(complaint.get("input"))
    match kind:
        case "extra_forbidden":
            known = _fields_near(model, complaint["loc"][:-1])
            return f"{where} is not a field here; {_suggest(str(location[-1]), known)}"
        case "missing":
            return f"{where} is missing; add it."
        case "union_tag_invalid":
            expected = [tag.strip(" '") for tag in str(context["expected_tags"]).split(",")]
            return f"{where}.kind is {context['tag']!r}; {_suggest(str(context['tag']), expected)}"
        case "union_tag_not_found":
            return f"{where}.kind is missing; it chooses what {where} is."
        case "value_error":
            return f"{str(context['error'])[:1].upper()}{str(context['error'])[1:]}."
        case "literal_error":
            return f"{where} must be {context['expected']}; got {got}."
        case "string_pattern_mismatch":
            return f"{where} has characters or a form that is not allowed (pattern {context['pattern']}); got {got}."
    message = str(complaint["msg"]).removeprefix("Input should be ").removeprefix("Value error, ")
    return f"{where} must be {message[:1].lower()}{message[1:]}; got {got}."


def _shown(value: Any) -> str:
    try:
        text = json.dumps(value, default=repr, ensure_ascii=False)
    except (ValueError, RecursionError):
        text = repr(type(value))
    return text if len(text) <= _GOT_LENGTH else text[:_GOT_LENGTH] + "…"


def _suggest(got: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(got, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known are {', '.join(sorted(known))}." if known else "remove it."


def _fields_near(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """Names of the fields of the model that stands at `loc` (with pydantic's union tags)."""
    here: list[type[BaseModel]] = [model]
    for part in loc:
        chosen = [member for member in here if _tag(member) == part]
        if chosen:
            here = chosen
            continue
        fields = [member.model_fields[str(part)] for member in here if str(part) in member.model_fields]
        if fields:
            here = [found for field in fields for found in _models_in(field)]
    return sorted({name for member in here for name in member.model_fields})


def _tag(model: type[BaseModel]) -> Any:
    field: FieldInfo | None = model.model_fields.get("kind")
    return field.default if field is not None else None


def _models_in(field: FieldInfo) -> list[type[BaseModel]]:
    def walk(annotation: Any) -> list[type[BaseModel]]:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return [annotation]
        return [model for argument in get_args(annotation) for model in walk(argument)]

    return walk(field.annotation)
