"""What points are called: by what they set, as briefly as tells them apart."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from prolu.spec import SweepSpec, Variant
from service.domain.expansion.settings import Setting

_NAME_LENGTH = 200
_VALUE_LENGTH = 40


def name_of(sweep: SweepSpec, index: int, variant: Variant | None, settings: Sequence[Setting]) -> str:
    """Write `demo/prolu-ste/coefficient=0.001`: sweep, alternative, and what is varied."""
    varied = [setting for setting in settings if setting.varied]
    labels = _labels([setting.path for setting in varied])
    values = ",".join(f"{label}={_short(setting.value)}" for label, setting in zip(labels, varied, strict=True))
    title = sweep.name or sweep.base.get("name", "")
    name = "/".join(part for part in (title, variant.name if variant else "", values) if part)
    if len(name) <= _NAME_LENGTH:
        return name
    ending = f"… #{index}"
    return name[: _NAME_LENGTH - len(ending)] + ending


def _labels(paths: Sequence[str]) -> list[str]:
    """Shorten each path to the fewest last parts that tell it from the others."""

    def ending(path: str, length: int) -> str:
        return ".".join(path.split(".")[-length:])

    labels = []
    for path in paths:
        parts = path.split(".")
        length = min(2, len(parts)) if parts[-1] == "kind" else 1
        while length < len(parts) and sum(ending(other, length) == ending(path, length) for other in paths) > 1:
            length += 1
        labels.append(ending(path, length))
    return labels


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    printable = "".join(character if character.isprintable() else "�" for character in text)
    return printable if len(printable) <= _VALUE_LENGTH else printable[: _VALUE_LENGTH - 1] + "…"


def describe(index: int, chosen: Mapping[str, Any]) -> str:
    """Name a point for people: its index, and what it sets."""
    settings = ", ".join(f"{path}={_short(value)}" for path, value in chosen.items())
    return f"Point {index} ({settings})" if settings else f"Point {index}"
