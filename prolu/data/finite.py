"""Look once at every value of shards before training begins, and remember the answer while a file stays as it is.

A NaN that is found only when its row is read may end a run after days; and the hash of what was looked at tells, whenever the run
is resumed, whether it still reads the same. Knows arrays and files, not where they came from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prolu.data.fingerprint import remembered
from prolu.data.progression import Progression
from prolu.data.rows import Part, bad_rows, not_finite, to_float32
from prolu.data.source import Notify, ShouldStop

# Looked at between two chances to stop; a few milliseconds.
_PIECE_BYTES = 8 * 2**20
# Changes when the same file would get another answer.
_FORMAT = 2


def look_through(
    shards: Sequence[tuple[Path, Part]], *, cache_dir: Path, notify: Notify, should_stop: ShouldStop
) -> list[str]:
    """Return the sha256 of the array of each whole shard, by which equal arrays are known on every machine.

    `shards` are files with their arrays. `notify` hears how many of their bytes have been looked at. Raises DataError, with
    file and row, if a value is NaN or infinite as float32; Interrupted if asked to stop; files that are done are remembered.
    """
    if not shards:
        return []
    hashes: list[str] = []
    sizes = [path.stat().st_size for path, _ in shards]
    progress = Progression("preparing", sum(sizes), notify, should_stop)
    for (path, part), size in zip(shards, sizes, strict=True):

        def look(part: Part = part) -> list[str]:
            return list(sha256_or_bad_row(part.array, progress.within))

        kind, found = remembered(f"looked through {_FORMAT}", [path], look, cache_dir=cache_dir)
        if kind == "bad row":
            raise not_finite(np.asarray(part.array[int(found)]), int(found), part.name)
        hashes.append(found)
        progress.finish(size)
    return hashes


def sha256_or_bad_row(array: NDArray[np.generic], heed: Callable[[int], None]) -> tuple[str, str]:
    """Return ("sha256", that of type, shape and values row by row), or ("bad row", the first that is not finite).

    `array` has the shape (rows, d_in). `heed` hears before each piece how many bytes have been looked at.
    """
    sha256 = hashlib.sha256(f"{array.dtype.str} {array.shape}".encode())
    row_bytes = array.shape[1] * array.itemsize
    step = max(1, _PIECE_BYTES // row_bytes)
    for start in range(0, len(array), step):
        heed(start * row_bytes)
        piece = np.ascontiguousarray(array[start : start + step])
        bad = bad_rows(to_float32(piece))
        if bad.size:
            return "bad row", str(start + int(bad[0]))
        sha256.update(piece.data)
    return "sha256", sha256.hexdigest()
