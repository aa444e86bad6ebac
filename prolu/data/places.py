"""Where data may be read and kept on this machine, and what can go wrong with it. Knows no source in particular.

DataError      the spec asks for data that cannot be had; its author can mend it
Interrupted    the run was asked to stop while its data was being prepared
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


class DataError(ValueError):
    """The data that a spec names cannot be used; the sentence says which field, what it got and what to do."""


class Interrupted(Exception):  # noqa: N818 - a wish, not an error
    """The caller's `should_stop` became true while data was being prepared; what was finished is kept."""


@dataclass(frozen=True)
class Places:
    """The folders that the operator allows, and whether the hub may be asked."""

    cache_dir: Path
    """Converted models and extracted activations; shared by every run on the machine."""
    data_roots: tuple[Path, ...]
    """Folders that a spec may read from; nothing outside them is opened."""
    hub_online: bool
    """Whether models and datasets may be downloaded from the Hugging Face hub; otherwise only what is already there."""

    def resolve(self, location: str, *, field: str) -> Path:
        """Return the existing file or folder that `location` means, symlinks followed.

        A relative location is looked up below each data root in turn. Raises DataError if it does not exist
        or leads out of every data root.
        """
        roots = [root.resolve() for root in self.data_roots]
        candidates = [(root / location).resolve() for root in self.data_roots] or [Path(location).resolve()]
        inside = [path for path in candidates if any(path.is_relative_to(root) for root in roots)]
        for path in inside:
            if path.exists():
                return path
        allowed = ", ".join(str(root) for root in roots) or "none is configured"
        if not inside:
            raise DataError(
                f"{field} is {location!r}, which leads outside the data roots of this service ({allowed}); "
                "move the data below one of them or ask the operator to add a root."
            )
        raise DataError(
            f"{field} is {location!r}, which does not exist below the data roots ({allowed}); check the path."
        )
