"""Turn a failed validation into sentences that say what, got, do; for the API and the command line alike.

    SpecError
     └─ holds one `Mistake` per thing that is wrong

Knows the shape of pydantic's errors, and nothing of HTTP or files.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from prolu.spec.places import Place, find
from prolu.spec.text import PATTERN_WORDS

# Beyond so many, more mistakes help nobody, and a hostile body could make a million of them.
MOST_MISTAKES = 50
_GOT_LENGTH = 80
_WHERE_LENGTH = 200

# What a value must be, by the type of pydantic's error; filled in from the error's context.
_MUST_BE = {
    "greater_than_equal": "at least {ge}",
    "greater_than": "greater than {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "less than {lt}",
    "finite_number": "a finite number",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "string_unicode": "text without half a surrogate pair",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping of fields",
    "model_attributes_type": "a mapping of fields",
    "literal_error": "{expected}",
    "enum": "{expected}",
    "int_parsing": "a whole number",
    "int_parsing_size": "a smaller whole number",
    "float_parsing": "a number",
    "bool_parsing": "true or false",
    "uuid_parsing": "a whole id (a UUID)",
    "datetime_parsing": "a time such as 2026-01-31T12:00:00Z",
    "datetime_from_date_parsing": "a time such as 2026-01-31T12:00:00Z",
    "timezone_aware": "a time with its offset from UTC, such as 2026-01-31T12:00:00Z",
}


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
    """Say each of pydantic's complaints about `document` in a sentence; `model` gives the names that would be right.

    The location of a mistake is that of a value in the document, or of the one that is missing there.
    """
    complaints = error.errors(include_url=False)
    mistakes = [_mistake(complaint, document, model) for complaint in complaints[:MOST_MISTAKES]]
    if len(complaints) > MOST_MISTAKES:
        rest = len(complaints) - MOST_MISTAKES
        mistakes.append(Mistake((), f"The document has {rest} more mistakes; correct these first."))
    return mistakes


def kind_of(value: Any) -> str:
    """Name the kind of a value in the words of the job language."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case str():
            return "text"
        case int() | float():
            return "a number"
        case list() | tuple():
            return "a list"
        case Mapping():
            return "a mapping"
    return f"a {type(value).__name__}"


def about(complaint: Any, where: str, got: Any) -> str:
    """Say one of pydantic's complaints of a value that is in no document, as a parameter is; `where` names it."""
    return _sentence(complaint, complaint.get("ctx", {}), Place((), None, (), (), is_key=False), where, got)


def _mistake(complaint: Any, document: Any, model: type[BaseModel]) -> Mistake:
    context = complaint.get("ctx", {})
    place = find(model, complaint["loc"])
    location = _as_written(document, place.location)
    if complaint["type"] == "refusal":
        location += tuple(context["place"])
    elif complaint["type"] == "union_tag_invalid":
        location += ("kind",)
    where = _where(location)
    if place.is_key:
        where, got = f"the key {where}", location[-1]
    else:
        got = _value_at(document, location, otherwise=complaint.get("input"))
    return Mistake(location, _sentence(complaint, context, place, where, got))


def _as_written(document: Any, location: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Name keys as the document does: pydantic calls true and false, as YAML reads `yes` and `no`, 1 and 0."""
    here, written = document, []
    for part in location:
        flags = [key for key in here if isinstance(key, bool) and key == part] if isinstance(here, Mapping) else []
        written.append(flags[0] if flags else part)
        here = _value_at(here, (part,), otherwise=None)
    return tuple(written)


def _sentence(complaint: Any, context: Mapping[str, Any], place: Place, where: str, got: Any) -> str:
    match complaint["type"]:
        case "extra_forbidden":
            condition = f"when {_where(place.parent)}.kind is {place.tag!r}" if place.tag else "here"
            return f"{where} is not a field {condition}; {_suggest(str(place.location[-1]), place.siblings)}"
        case "missing":
            return f"{where} is missing; add it{f', with kind {_either(place.tags)}' if place.tags else ''}."
        case "union_tag_invalid":
            return f"{where} is {_shown(got)}; {_suggest(got, place.tags)}"
        case "union_tag_not_found":
            return f"{where}.kind is missing; choose {_either(place.tags)}."
        case "refusal":
            return f"{where} {context['sentence']}."
        case "invalid_key":
            return f"{where} is {kind_of(place.location[-1])}; the names of fields are text."
        case "string_pattern_mismatch":
            words = PATTERN_WORDS.get(context["pattern"], f"text of the form {context['pattern']}")
            return f"{where} must be {words}; got {_shown(got)}."
        case "string_too_short" | "too_short":
            return f"{where} must have at least {_count(context['min_length'], got)}; got {_shown(got)}."
        case "string_too_long" | "too_long":
            length = len(got) if isinstance(got, str | list) else _shown(got)
            return f"{where} must have at most {_count(context['max_length'], got)}; got {length}."
        case known if known in _MUST_BE:
            must_be = _MUST_BE[known].format(**{name: _bound(value) for name, value in context.items()})
            return f"{where} must be {must_be}; got {_shown(got)}{_remedy(known, got)}."
    message = str(complaint["msg"]).removeprefix("Value error, ")
    if message.startswith("Input should be "):
        return f"{where} must be {message.removeprefix('Input should be ')}; got {_shown(got)}."
    return f"{where}: {message}; got {_shown(got)}."


def _value_at(document: Any, location: Sequence[str | int], *, otherwise: Any) -> Any:
    here = document
    for part in location:
        if isinstance(here, dict) and part in here:
            here = here[part]
        elif isinstance(here, list) and isinstance(part, int) and part < len(here):
            here = here[part]
        else:
            return otherwise
    return here


def _where(location: Sequence[str | int]) -> str:
    parts = (str(part) for part in location)
    text = ".".join(part if part.isprintable() else ascii(part) for part in parts)
    return _cut(text, _WHERE_LENGTH) or "the document"


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return repr(value) if len(value) <= _GOT_LENGTH else f"{value[:_GOT_LENGTH]!r}…"
    try:
        text = json.dumps(value, default=repr)
    except (TypeError, ValueError, RecursionError):  # keys that are no text, huge integers, deep nesting
        text = kind_of(value)
    return _cut(text, _GOT_LENGTH)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[:length] + "…"


def _bound(value: Any) -> str:
    """A bound as a person would write it: those of fractions are kept as fractions, 0 as 0.0."""
    return str(value).removesuffix(".0")


def _remedy(kind: str, got: Any) -> str:
    if kind == "int_type" and isinstance(got, float) and got.is_integer() and abs(got) < 1e15:
        return f"; write {int(got)}"
    if kind in ("int_type", "float_type") and isinstance(got, str):
        return ", which is text; write digits without quotes"
    return ""


def _count(number: int, got: Any) -> str:
    return f"{number} {'item' if isinstance(got, list) else 'character'}{'' if number == 1 else 's'}"


def _suggest(got: Any, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(got, known, n=1, cutoff=0.6) if isinstance(got, str) else []
    if close:
        return f"did you mean {close[0]!r}?"
    if len(known) < 2:
        return f"only {known[0]} is known." if known else "remove it."
    return f"known are {', '.join(known)}."


def _either(choices: Sequence[str]) -> str:
    return " or ".join([", ".join(choices[:-1]), choices[-1]] if len(choices) > 1 else choices) or "one"
