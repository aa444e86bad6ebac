"""The order of one pass over a streamed corpus: truly mixing, and enterable anywhere. Knows no model; numbers alone.

Contexts are read in a keyed random order and cut into K chunks of about equal rows, each at most half a buffer (plus less than
one context, since contexts are not cut). A keyed permutation splits the n_k rows of chunk k into a first half of ceil(n_k / 2)
and a second half. Block k of the pass is the first half of chunk k with the second half of the chunk before, all in a keyed
random order; the chunk before the first is the last of the same pass. So

  - a pass is its K blocks, and gives every row exactly once;
  - every block, the first too, mixes an older and a newer chunk, and needs no more than those two at a time;
  - row r of the stream is found by arithmetic: pass r // rows, then the block by bisection, then a permutation each.

The price of beginning a pass with its last chunk is that this chunk is filled twice, unless K <= 2: K + 1 fillings for K chunks.
A training set of at most half a buffer is one chunk, and its one block is the whole pass in random order. Keys come from
(seed, pass, chunk), so each pass has an order, chunks and halves of its own.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prolu.data.permutation import permute

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Selection:
    """Some rows of the stream that come from one chunk."""

    chunk: int
    """Number of the chunk within its pass."""
    rows: Numbers
    """Rows of the chunk, in reading order of its contexts."""
    places: Numbers
    """Where they stand among the rows that were asked for."""


class ReadingOrder:
    """The order of pass `number`, for contexts that keep `rows` activations each."""

    def __init__(self, rows: Numbers, *, buffer_rows: int, seed: int, number: int) -> None:
        self._seed = seed
        self._number = number
        self._contexts = self._permuted("contexts", 0, np.arange(len(rows)), len(rows))
        starts = np.concatenate([[0], np.cumsum(rows[self._contexts])])
        total = int(starts[-1])
        chunks = math.ceil(total / max(1, buffer_rows // 2))
        # A context belongs to the chunk in whose stretch it begins; where contexts are longer than stretches, some have none.
        stretches = np.arange(chunks) * total // chunks
        self._cuts = np.unique(np.append(np.searchsorted(starts[:-1], stretches), len(rows)))
        self._sizes: Numbers = np.diff(starts[self._cuts])
        self._firsts = -(-self._sizes // 2)
        seconds = np.roll(self._sizes - self._firsts, 1)  # of the chunk before
        self._ends = np.cumsum(self._firsts + seconds)

    @property
    def chunks(self) -> int:
        """Chunks, and blocks, of the pass."""
        return len(self._sizes)

    def contexts(self, chunk: int) -> Numbers:
        """Return the contexts of a chunk, in the order in which the model reads them."""
        return self._contexts[self._cuts[chunk] : self._cuts[chunk + 1]]

    def selections(self, first: int, stop: int) -> list[Selection]:
        """Say where rows first ... stop - 1 of the pass come from, block by block, the older chunk of each first."""
        found: list[Selection] = []
        begin, block = first, int(np.searchsorted(self._ends, first, side="right"))
        while begin < stop:
            end = min(stop, int(self._ends[block]))
            found += self._of_block(block, np.arange(begin, end), first)
            begin, block = end, block + 1
        return found

    def _of_block(self, block: int, positions: Numbers, first: int) -> list[Selection]:
        begin = int(self._ends[block - 1]) if block else 0
        size = int(self._ends[block]) - begin
        drawn = self._permuted("block", block, positions - begin, size)
        newer = drawn < self._firsts[block]
        before = (block - 1) % self.chunks
        # The second half of the chunk before begins where its first half ends.
        older_rows = drawn[~newer] - self._firsts[block] + self._firsts[before]
        places = positions - first
        halves = [(before, older_rows, places[~newer]), (block, drawn[newer], places[newer])]
        return [
            Selection(chunk, self._permuted("chunk", chunk, within, int(self._sizes[chunk])), places)
            for chunk, within, places in halves
            if len(within)
        ]

    def _permuted(self, what: str, part: int, positions: Numbers, size: int) -> Numbers:
        name = f"prolu.data.reading_order {what} {self._number} {part}"
        number = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
        return permute(positions, size, seed=self._seed, number=number)
