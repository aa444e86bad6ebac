"""What every part of the job language has in common: frozen, strict, finite, described.

Knows nothing of torch, HTTP or SQL.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

# Numbers are strict: a string or a boolean where a number belongs is a mistake, never a number.
Integer = Annotated[int, Field(strict=True)]
Number = Annotated[float, Field(strict=True)]


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
