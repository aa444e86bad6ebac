"""Look at what was typed before anything is sent: specs from a file or standard input, and names of pictures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from prolu.client.plots import ENDINGS
from prolu.client.wire import ProblemItem
from prolu.spec import Mistake, Preset, SpecError, named_preset, parse, validate
from prolu.spec.document import MAX_CHARACTERS

Model = TypeVar("Model", bound=BaseModel)

_MAX_BYTES = 4 * MAX_CHARACTERS


class BadInput(Exception):
    """What was typed cannot be done; one line per mistake."""

    def __init__(self, *lines: str) -> None:
        self.lines = lines
        super().__init__(" ".join(lines))


def read_document(source: str) -> Any:
    """Plain data from a YAML or JSON file, or from standard input for `-`. Raises BadInput."""
    name = "standard input" if source == "-" else source
    try:
        if source == "-":
            raw = sys.stdin.buffer.read(_MAX_BYTES + 1)
        else:
            with Path(source).open("rb") as file:
                raw = file.read(_MAX_BYTES + 1)
        if len(raw) > _MAX_BYTES:
            raise BadInput(f"{name} is longer than {_MAX_BYTES} bytes; a spec is at most {MAX_CHARACTERS} characters.")
        return parse(raw.decode())
    except OSError as error:
        raise BadInput(
            f"Cannot read {name}: {error.strerror or error}; name a YAML or JSON file, or - for stdin."
        ) from None
    except UnicodeDecodeError as error:
        raise BadInput(f"{name} is not UTF-8 text (byte {error.start}); save it as UTF-8.") from None
    except SpecError as error:
        raise BadInput(*(said(name, mistake) for mistake in error.mistakes)) from None


def check(document: Any, model: type[Model], source: str) -> Model:
    """Plain data as a spec. Raises BadInput with one line per mistake."""
    try:
        return validate(document, model)
    except SpecError as error:
        name = "standard input" if source == "-" else source
        raise BadInput(*(said(name, mistake) for mistake in error.mistakes)) from None


def find_preset(source: str) -> Preset:
    """A preset by its name, or from a file. Raises BadInput."""
    try:
        if source.endswith((".yaml", ".yml", ".json")):
            return check(read_document(source), Preset, source)
        return named_preset(source)
    except SpecError as error:
        raise BadInput(*(said("--preset", mistake) for mistake in error.mistakes)) from None


def check_picture(path: Path | None) -> None:
    """Refuse early what could not be drawn late. Raises BadInput."""
    if path is not None and path.suffix not in ENDINGS:
        raise BadInput(f"--plot must end in {', '.join(ENDINGS)}; got {str(path)!r}.")


def said(name: str, mistake: Mistake) -> str:
    """A mistake on one line, with the place if its sentence does not name it."""
    sentence = " ".join(mistake.sentence.split())
    place = f"{mistake.path}: " if mistake.path and mistake.path not in sentence else ""
    return f"{name}: {place}{sentence}"


def placed(item: ProblemItem) -> str:
    """What the service finds wrong, with the place in the spec if it does not name it; that of a parameter always does."""
    if not item.pointer.startswith("/"):
        return item.detail
    path = item.pointer.strip("/").replace("/", ".").removeprefix("spec.")
    return item.detail if not path or path in item.detail else f"{path}: {item.detail}"
