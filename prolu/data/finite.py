"""Look once at every value of shards before training begins, and remember the answer while a file stays as it is.

A NaN that is found only when its row is read may end a run after days. Knows arrays and files, not where they came from.
"""

from __future__ import annotations

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
_FORMAT = 1


def require_finite(
    shards: Sequence[tuple[Path, Part]], *, cache_dir: Path, notify: Notify, should_stop: ShouldStop
) -> None:
    """Raise DataError, with file and row, if a value of whole shards is NaN or infinite as float32.

    `shards` are files with their arrays. `notify` hears how many of their bytes have been looked at. Raises Interrupted if
    asked to stop; files that are done are remembered.
    """
    if not shards:
        return
    sizes = [path.stat().st_size for path, _ in shards]
    progress = Progression("preparing", sum(sizes), notify, should_stop)
    for (path, part), size in zip(shards, sizes, strict=True):

        def look(part: Part = part) -> list[str]:
            row = first_bad_row(part.array, progress.within)
            return [] if row is None else [str(row)]

        for row in remembered(f"not finite {_FORMAT}", [path], look, cache_dir=cache_dir):
            raise not_finite(np.asarray(part.array[int(row)]), int(row), part.name)
        progress.finish(size)


def first_bad_row(array: NDArray[np.generic], heed: Callable[[int], None]) -> int | None:
    """Return the first row of `array`, shape (rows, d_in), with a NaN or infinite value, or None.

    `heed` hears before each piece how many bytes have been looked at.
    """
    row_bytes = array.shape[1] * array.itemsize
    step = max(1, _PIECE_BYTES // row_bytes)
    for start in range(0, len(array), step):
        heed(start * row_bytes)
        bad = bad_rows(to_float32(np.asarray(array[start : start + step])))
        if bad.size:
            return start + int(bad[0])
    return None
