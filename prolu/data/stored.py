"""Read stored activations shuffled, seekable and normalised: the source that shards and language models share."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float
from torch import Tensor

from prolu.data.permutation import shuffled_rows
from prolu.data.rows import Rows
from prolu.data.source import SplicedModel
from prolu.models.normalisation import Normaliser


class StoredSource:
    """Training rows in a new pseudo-random order on each pass, held-out rows in their own order."""

    dictionary = None

    def __init__(
        self,
        train: Rows,
        held_out: Rows,
        *,
        identity: str,
        seed: int,
        normaliser: Normaliser,
        spliced: SplicedModel | None = None,
    ) -> None:
        self._train = train
        self._held_out = held_out
        self._identity = identity
        self._seed = seed
        self._normaliser = normaliser
        self._spliced = spliced

    @property
    def d_in(self) -> int:
        """Width of one activation."""
        return self._train.d_in

    @property
    def identity(self) -> str:
        """What the rows are, training and held out."""
        return self._identity

    @property
    def normaliser(self) -> Normaliser:
        """What the stored rows go through."""
        return self._normaliser

    @property
    def spliced(self) -> SplicedModel | None:
        """The language model of the rows, if they have one and it is wanted."""
        return self._spliced

    def batch(self, step: int, batch_size: int) -> Float[Tensor, "batch d_in"]:
        """Return rows step * batch_size ... of an endless reading: each pass has every row once, in an order of its own.

        Raises DataError if a row holds a NaN or infinite value.
        """
        rows = shuffled_rows(step * batch_size, batch_size, len(self._train), seed=self._seed)
        return self._normaliser.normalise(self._train.gather(rows))

    def evaluation(self, batch_size: int) -> Iterator[Float[Tensor, "batch d_in"]]:
        """Yield the held-out rows in file order; the last batch may be shorter."""
        for start in range(0, len(self._held_out), batch_size):
            rows = np.arange(start, min(start + batch_size, len(self._held_out)))
            yield self._normaliser.normalise(self._held_out.gather(rows))
