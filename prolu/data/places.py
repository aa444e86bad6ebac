"""Where data may be read and kept on this machine, and what can go wrong with it. Knows no source in particular.

DataError      the spec asks for data that cannot be had; its author can mend it
Interrupted    the run was asked to stop while its data was being prepared
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath

from prolu.spec.urls import ObjectUrl, is_url, parse_url


class DataError(ValueError):
    """The data that a spec names cannot be used; the sentence says which field, what it got and what to do."""


class Interrupted(Exception):
    """The caller's `should_stop` became true while data was being prepared; what was finished is kept."""


@dataclass(frozen=True)
class Places:
    """The folders and prefixes that the operator allows, and whether the hub may be asked."""

    cache_dir: Path
    """Converted models and extracted activations; shared by every run on the machine."""
    data_roots: tuple[Path, ...]
    """Folders that a spec may read from; nothing outside them is opened."""
    hub_online: bool
    """Whether models and datasets may be downloaded from the Hugging Face hub; otherwise only what is already there."""
    url_roots: tuple[ObjectUrl, ...] = ()
    """Prefixes of object stores that a spec may read shards from."""

    @staticmethod
    def of(cache_dir: Path, roots: Iterable[str], *, hub_online: bool) -> Places:
        """Take the operator's roots as they are written: folders, and URLs of object stores."""
        named = list(roots)
        folders = tuple(Path(root) for root in named if not is_url(root))
        urls = tuple(parse_url(root) for root in named if is_url(root))
        return Places(cache_dir, folders, hub_online, urls)

    def resolve(self, location: str, *, field: str) -> Path:
        """Return the existing file or folder that `location` means, symlinks followed.

        A relative location is looked up below each data root in turn. Raises DataError if it does not exist
        or leads out of every data root, or is a URL.
        """
        if is_url(location):
            raise DataError(
                f"{field} is a URL, but only shards are read from object stores; copy it below a data root."
            )
        candidates = [(root / location).resolve() for root in self.data_roots] or [Path(location).resolve()]
        inside = [path for path in candidates if self._allow(path)]
        for path in inside:
            if path.exists():
                return path
        if not inside:
            raise self._outside(location, field)
        raise DataError(
            f"{field} is {location!r}, which does not exist below the data roots ({self._named_roots()}); check the path."
        )

    def resolve_url(self, location: str, *, field: str) -> ObjectUrl:
        """Read a URL of an object store, without asking whether it exists.

        Raises DataError if it is not one, holds credentials, or does not lie below an allowed prefix.
        """
        try:
            url = parse_url(location)
        except ValueError as error:
            raise DataError(f"{field} is {error}.") from None
        if not any(url.is_below(root) for root in self.url_roots):
            raise self._outside(location, field)
        return url

    def has(self, location: str) -> bool:
        """Whether `location` exists below a data root."""
        return any(
            self._allow(path) and path.exists() for path in ((root / location).resolve() for root in self.data_roots)
        )

    def files(self, location: str, suffixes: Collection[str] | None, *, field: str) -> list[Path]:
        """Return the file that `location` means, or the files below that folder in name order.

        Only files with one of `suffixes` count, and none that begins with a dot or lies in a folder that does, since programs
        leave such beside the data (`._a.npy`, `.ipynb_checkpoints`); unless `suffixes` is None: then every file counts.
        Raises DataError if there is none, or if one of them is a symlink that leads out of every data root.
        """
        path = self.resolve(location, field=field)
        if path.is_file():
            return [path]
        found = sorted(
            below
            for below in path.rglob("*")
            if (suffixes is None or (below.suffix in suffixes and not is_hidden(below.relative_to(path))))
            and below.is_file()
        )
        if not found:
            wanted = " or ".join(sorted(suffixes or ()))
            raise DataError(f"{field} is {location!r}, a folder without any {wanted} file; name another or fill it.")
        resolved = [below.resolve() for below in found]
        for below, target in zip(found, resolved, strict=True):
            if not self._allow(target):
                raise self._outside(str(below.relative_to(path)), f"{field}, through a link in {location!r},")
        return resolved

    def _allow(self, resolved: Path) -> bool:
        return any(resolved.is_relative_to(root.resolve()) for root in self.data_roots)

    def _outside(self, location: str, field: str) -> DataError:
        return DataError(
            f"{field} is {location!r}, which leads outside the data roots of this service ({self._named_roots()}); "
            "move the data below one of them or ask the operator to add a root."
        )

    def _named_roots(self) -> str:
        return ", ".join(str(root) for root in (*self.data_roots, *self.url_roots)) or "none is configured"


def is_hidden(path: PurePath) -> bool:
    """Whether a path, relative to what was asked for, has a part that begins with a dot."""
    return any(part.startswith(".") for part in path.parts)
