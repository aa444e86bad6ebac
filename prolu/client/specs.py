"""What may be given as a spec: one that is checked already, plain data, or a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from prolu.spec import Mistake, SpecError, parse, validate
from prolu.spec.mistakes import kind_of

Model = TypeVar("Model", bound=BaseModel)


def checked(spec: Model | Mapping[str, Any] | Path, model: type[Model]) -> Model:
    """The spec, of which plain data and YAML or JSON files are validated here. Raises SpecError, OSError."""
    if isinstance(spec, model):
        return spec
    if isinstance(spec, str):
        raise SpecError(
            [
                Mistake(
                    (), f"A spec is no text; got {spec[:80]!r}: of a file give its Path, such as Path({spec[:80]!r})."
                )
            ]
        )
    if not isinstance(spec, Path | Mapping):
        raise SpecError(
            [Mistake((), f"The spec must be a {model.__name__}, a mapping or a Path; got {kind_of(spec)}.")]
        )
    if isinstance(spec, Path):
        return validate(parse(spec.read_text(encoding="utf-8")), model)
    return validate(dict(spec), model)
