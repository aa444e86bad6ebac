"""One entry of the activation cache: a folder of immutable arrays and, written last, the manifest that vouches for them.

    {digest}/
      tokens-train-{sha256}.npy       (contexts, context_length) int32
      tokens-held_out-{sha256}.npy
      train-00000-{sha256}.npy        (rows, d_in); bfloat16 as its bits in uint16
      ...
      held_out-00000-{sha256}.npy
      manifest.json                   recipe, rows, bytes and sha256 of every array of activations

A file is named by its content, so a finished array can be told from a damaged one without a record elsewhere.
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from prolu.data.atomic import UNFINISHED, write_atomically
from prolu.data.fingerprint import fingerprints, sha256_of
from prolu.data.rows import Part, Rows
from prolu.spec.base import digest_of

Split = Literal["train", "held_out"]
SPLITS: tuple[Split, Split] = ("held_out", "train")


@dataclass(frozen=True)
class Entry:
    """The place in the cache for the activations that `recipe` describes."""

    folder: Path
    """Named by the digest of the recipe."""
    recipe: dict[str, Any]
    """Everything that the activations depend on, as plain data."""

    @staticmethod
    def of(recipe: dict[str, Any], cache_dir: Path) -> Entry:
        """Return the entry of a recipe; nothing need be there yet."""
        return Entry(cache_dir / "activations" / digest_of(recipe), recipe)

    @property
    def lock(self) -> Path:
        """Held by the process that extracts."""
        return self.folder.with_suffix(".lock")

    def open(self, cache_dir: Path) -> dict[Split, Rows] | None:
        """Return the activations, memory-mapped, or None if they are not complete or not what the manifest says.

        Checks size and sha256 of every file; a file that has not changed since its sha256 was last computed is not read again.
        """
        try:
            manifest = json.loads((self.folder / "manifest.json").read_bytes())
            arrays = [array for split in SPLITS for array in manifest["splits"][split]]
            files = [self.folder / array["file"] for array in arrays]
            if [file.stat().st_size for file in files] != [array["bytes"] for array in arrays]:
                return None
            if fingerprints(files, cache_dir=cache_dir) != [array["sha256"] for array in arrays]:
                return None
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None
        return {
            split: Rows(
                [Part(array["file"], _mapped(self.folder / array["file"])) for array in manifest["splits"][split]]
            )
            for split in SPLITS
        }

    def finish(self, parts: dict[Split, list[Path]], d_in: int) -> None:
        """Write the manifest: from now on the entry can be opened."""
        splits = {split: [_described(path) for path in paths] for split, paths in parts.items()}
        manifest = {"version": 1, "digest": self.folder.name, "recipe": self.recipe, "d_in": d_in, "splits": splits}
        write_atomically(self.folder / "manifest.json", json.dumps(manifest, indent=1, sort_keys=True).encode())

    def tidy(self) -> None:
        """Remove the manifest, and what a killed process left half-written. Only for the holder of the lock."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for left_over in [self.folder / "manifest.json", *self.folder.glob(f"*{UNFINISHED}")]:
            left_over.unlink(missing_ok=True)

    def find(self, stem: str) -> Path | None:
        """Return the whole array called `stem`, if it is there and its content has the sha256 in its name; remove others."""
        whole = None
        for path in sorted(self.folder.glob(f"{stem}-{'[0-9a-f]' * 64}.npy")):
            if whole is None and sha256_of(path) == _claimed(path):
                whole = path
            else:
                path.unlink()
        return whole

    def write(self, stem: str, array: NDArray[np.generic]) -> Path:
        """Write an array under its content's name and return the path."""
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, array, allow_pickle=False)
        path = self.folder / f"{stem}-{hashlib.sha256(buffer.getbuffer()).hexdigest()}.npy"
        write_atomically(path, buffer.getvalue())
        return path

    def count(self, split: Split) -> int:
        """Return the number of arrays of a split that are there, whole or not: how far an extraction is."""
        return len(list(self.folder.glob(f"{split}-*.npy")))


def _claimed(path: Path) -> str:
    return path.stem.rsplit("-", 1)[1]


def _mapped(path: Path) -> NDArray[np.generic]:
    array: NDArray[np.generic] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def _described(path: Path) -> dict[str, Any]:
    rows = len(_mapped(path))
    return {"file": path.name, "rows": rows, "bytes": path.stat().st_size, "sha256": _claimed(path)}
