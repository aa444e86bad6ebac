"""What every part of the job language has in common: frozen, strict, finite, described.

Knows nothing of torch, HTTP or SQL.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

# Levels of lists and mappings in a free value; far more than any run has, far fewer than Python's stack.
MAX_DEPTH = 32


def refusal(sentence: str, *place: str | int) -> PydanticCustomError:
    """Make the error of a validator that compares or walks: `sentence` goes on after the name of `place`.

    `place` is relative to what is validated, so that the mistake points at one field, not at all of them.
    """
    return PydanticCustomError("refusal", "{sentence}", {"sentence": sentence, "place": place})


def _not_boolean(value: Any) -> Any:
    if isinstance(value, bool | float):  # Python holds True == 1.0 == 1; the job language does not
        raise refusal(f"must be the whole number 1; got {json.dumps(value)}")
    return value


def _without_negative_zero(value: float) -> float:
    return value + 0.0  # -0.0 trains as 0.0 does, so it must have the same digest


def _plain(value: Any) -> Any:
    """Let through what JSON can say and every database can store."""
    open_values: list[tuple[Any, tuple[str | int, ...]]] = [(value, ())]
    while open_values:
        here, place = open_values.pop()
        if len(place) > MAX_DEPTH:
            raise refusal(f"is nested more than {MAX_DEPTH} deep; make it flatter")
        match here:
            case None | bool() | int():
                pass
            case float():
                if not math.isfinite(here):
                    raise refusal(f"must be a finite number; got {here}", *place)
            case str():
                _storable(here, place)
            case list():
                open_values.extend((item, (*place, index)) for index, item in enumerate(here))
            case dict():
                for key, item in here.items():
                    if not isinstance(key, str):
                        raise refusal("has a key that is not text; put it in quotes", *place)
                    _storable(key, place)
                    open_values.append((item, (*place, key)))
            case _:
                raise refusal("must be a number, text, true, false, null, a list or a mapping", *place)
    return value


def _storable(text: str, place: tuple[str | int, ...]) -> None:
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise refusal("has a NUL or half a surrogate pair, which no database stores; remove it", *place)


# Numbers are strict: a string or a boolean where a number belongs is a mistake, never a number.
Integer = Annotated[int, Field(strict=True)]
Number = Annotated[float, Field(strict=True)]
# For numbers that may be 0. After their bounds, which JSON Schema would not know otherwise.
UnsignedZero = AfterValidator(_without_negative_zero)
# Training counts in float32, which ends at 3.4e38 and 1.2e-38. A weight beyond these would be infinite there, or nothing.
LARGEST, LEAST = 1e30, 1e-30
# What is added to activations, or divides them, is squared as well, and more than once: these stay far from both ends.
Size = Annotated[Number, Field(ge=1e-6, le=1e6)]
Flag = Annotated[bool, Field(strict=True)]
Version = Annotated[Literal[1], BeforeValidator(_not_boolean)]
# A value whose place, and so whose type, is known only once the sweep is expanded.
Plain = Annotated[Any, AfterValidator(_plain)]


class Spec(BaseModel):
    """A frozen value of the job language; unknown fields and NaN or infinite numbers are refused."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        validate_default=True,
    )


def canonical_json(value: Any) -> str:
    """Write plain JSON data with sorted keys and no spaces, so that equal values are equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest_of(value: Any) -> str:
    """Return the sha256 (64 hex digits) of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
