"""One entry of the cache: a folder of immutable arrays and, written last, the manifest that vouches for them.

    {cache}/{kind}/{digest}/
      train-00000-{sha256}.npy        arrays, by split and number; bfloat16 as its bits in uint16
      held_out-00000-{sha256}.npy
      ...
      manifest.json                   recipe; rows, bytes and sha256 of every array; facts

A file is named by its content, so a finished array can be told from a damaged one without a record elsewhere.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from prolu.data.atomic import UNFINISHED, write_atomically
from prolu.data.fingerprint import fingerprints, sha256_of
from prolu.data.rows import Part
from prolu.spec.base import digest_of

Split = Literal["train", "held_out"]


@dataclass(frozen=True)
class Opened:
    """What a complete entry holds."""

    parts: dict[str, list[Part]]
    """The arrays of each split, memory-mapped, in order."""
    facts: dict[str, Any]
    """What else the manifest says, as plain data."""


@dataclass(frozen=True)
class Entry:
    """The place in the cache for what `recipe` describes."""

    folder: Path
    """Named by the digest of the recipe."""
    recipe: Mapping[str, Any]
    """Everything that the arrays depend on, as plain data."""

    @staticmethod
    def of(recipe: Mapping[str, Any], folder: Path) -> Entry:
        """Return the entry of a recipe below the folder of its kind; nothing need be there yet."""
        return Entry(folder / digest_of(recipe), recipe)

    @property
    def lock(self) -> Path:
        """Held by the process that fills the entry."""
        return self.folder.with_suffix(".lock")

    def open(self, cache_dir: Path) -> Opened | None:
        """Return what is there, or None if it is not complete or not what the manifest says.

        Checks size and sha256 of every file; a file that has not changed since its sha256 was last computed is not read again.
        """
        try:
            manifest = json.loads((self.folder / "manifest.json").read_bytes())
            arrays = [array for split in sorted(manifest["splits"]) for array in manifest["splits"][split]]
            files = [self.folder / array["file"] for array in arrays]
            if [file.stat().st_size for file in files] != [array["bytes"] for array in arrays]:
                return None
            if fingerprints(files, cache_dir=cache_dir) != [array["sha256"] for array in arrays]:
                return None
            facts = dict(manifest["facts"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None
        parts = {
            split: [Part(array["file"], _mapped(self.folder / array["file"])) for array in described]
            for split, described in manifest["splits"].items()
        }
        return Opened(parts, facts)

    def finish(self, parts: Mapping[Split, Sequence[Path]], facts: Mapping[str, Any]) -> None:
        """Write the manifest: from now on the entry can be opened."""
        splits = {split: [_described(path) for path in paths] for split, paths in parts.items()}
        manifest = {
            "version": 2,
            "digest": self.folder.name,
            "recipe": self.recipe,
            "splits": splits,
            "facts": facts,
        }
        write_atomically(self.folder / "manifest.json", json.dumps(manifest, indent=1, sort_keys=True).encode())

    def tidy(self) -> None:
        """Remove the manifest, and what a killed process left half-written. Only for the holder of the lock."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for left_over in [self.folder / "manifest.json", *self.folder.glob(f"*{UNFINISHED}")]:
            left_over.unlink(missing_ok=True)

    def find(self, split: Split, number: int) -> Path | None:
        """Return array `number` of a split, if it is there and its content has the sha256 in its name; remove others."""
        whole = None
        for path in sorted(self.folder.glob(f"{_stem(split, number)}-{'[0-9a-f]' * 64}.npy")):
            if whole is None and sha256_of(path) == _claimed(path):
                whole = path
            else:
                path.unlink()
        return whole

    def write(self, split: Split, number: int, array: NDArray[np.generic]) -> Path:
        """Write an array under its content's name and return the path."""
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, array, allow_pickle=False)
        path = self.folder / f"{_stem(split, number)}-{hashlib.sha256(buffer.getbuffer()).hexdigest()}.npy"
        write_atomically(path, buffer.getvalue())
        return path

    def present(self, split: Split) -> list[Path]:
        """Return the arrays of a split that are there, whole or not: how far the work is."""
        return sorted(self.folder.glob(f"{split}-*.npy"))

    def note(self, name: str) -> Any:
        """Return a small finding about the entry that was kept by `keep`, or None if there is none that can be read."""
        try:
            return json.loads((self.folder / f"{name}.json").read_bytes())
        except (FileNotFoundError, ValueError):
            return None

    def keep(self, name: str, finding: Any) -> None:
        """Keep a small finding, plain data that follows from the recipe, beside the arrays."""
        write_atomically(self.folder / f"{name}.json", json.dumps(finding).encode())


def _stem(split: Split, number: int) -> str:
    return f"{split}-{number:05d}"


def _claimed(path: Path) -> str:
    return path.stem.rsplit("-", 1)[1]


def _mapped(path: Path) -> NDArray[np.generic]:
    array: NDArray[np.generic] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def _described(path: Path) -> dict[str, Any]:
    rows = len(_mapped(path))
    return {"file": path.name, "rows": rows, "bytes": path.stat().st_size, "sha256": _claimed(path)}
