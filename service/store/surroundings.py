"""Where the names in a spec are looked up: the data roots, the hub, the packages of this machine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from prolu.spec.urls import ObjectUrl
from service.store.hub import Asking, Hub


@dataclass(frozen=True)
class Surroundings:
    """Where names are looked up."""

    data_roots: tuple[Path, ...]
    hub_mode: Literal["check", "trust", "offline"]
    hub_cache: Path
    hub: Hub | Asking
    one_machine: bool
    """Whether runs train on the machine of the API, so that what is not installed here is missing there."""
    url_roots: tuple[ObjectUrl, ...] = ()
    """Prefixes of object stores that a spec may read shards from."""
    max_gpus_per_user: float | None = None
    """What one user's runs may hold at once; None for no limit."""

    def for_one_request(self) -> Surroundings:
        """Have all checks of one request share what the hub said, and the time that it gets."""
        return self if isinstance(self.hub, Asking) else replace(self, hub=self.hub.asking())

    def asking(self) -> Asking:
        """The questions to the hub."""
        return self.hub if isinstance(self.hub, Asking) else self.hub.asking()
