"""What a point sets, and where the sweep says so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Location = tuple[str | int, ...]
SEED = "training.seed"


@dataclass(frozen=True)
class Setting:
    """One path that a point sets, and where the sweep says so."""

    path: str
    value: Any
    origin: Location
    varied: bool
    """Whether it tells points of an alternative apart, and so becomes part of their names."""
