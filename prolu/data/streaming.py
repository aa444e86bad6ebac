"""Run the language model beside the training: no training activation lies on disk, and any step can be read at once.

The order is that of `prolu.data.reading_order`. A chunk's activations are a function of the chunk alone, since its contexts are
always read in the same forward passes; so a batch has the same bits however the stream was entered (on the same kind of
processor and number of threads), and a resume runs the model for the two chunks of its block alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from prolu.data.extraction import Layout, kept_rows
from prolu.data.language_model import LanguageModel
from prolu.data.places import Interrupted
from prolu.data.reading_order import ReadingOrder
from prolu.data.rows import Rows
from prolu.data.source import ShouldStop, SplicedModel
from prolu.data.stored import StoredSource
from prolu.data.tokenised import Contexts
from prolu.models.normalisation import Normaliser
from prolu.spec.data import LanguageModelData

# Chunks in memory: those of one block.
_BUFFERED = 2


class StreamingSource:
    """Training activations computed when they are needed, held-out ones stored."""

    dictionary = None

    def __init__(
        self,
        spec: LanguageModelData,
        layout: Layout,
        contexts: Contexts,
        held_out: Rows,
        *,
        identity: str,
        d_in: int,
        model: Callable[[], LanguageModel],
        normaliser: Normaliser,
        spliced: SplicedModel | None,
        should_stop: ShouldStop,
    ) -> None:
        self._spec = spec
        self._layout = layout
        self._contexts = contexts
        self._rows = int(contexts.rows.sum())
        self._d_in = d_in
        self._model = model
        self._normaliser = normaliser
        self._held_out = StoredSource(
            held_out, held_out, identity=identity, seed=spec.seed, normaliser=normaliser, spliced=spliced
        )
        self._should_stop = should_stop
        self._order: tuple[int, ReadingOrder] | None = None
        self._buffer: dict[tuple[int, int], Tensor] = {}

    @property
    def d_in(self) -> int:
        """Width of one activation."""
        return self._d_in

    @property
    def identity(self) -> str:
        """What the activations are: of which model, at which text."""
        return self._held_out.identity

    @property
    def normaliser(self) -> Normaliser:
        """What the model's activations go through."""
        return self._normaliser

    @property
    def spliced(self) -> SplicedModel | None:
        """The model with held-out contexts, if the spec asks for it."""
        return self._held_out.spliced

    def batch(self, step: int, batch_size: int) -> Float[Tensor, "batch d_in"]:
        """Return rows step * batch_size ... of the endless stream; runs the model if they are not in the buffer.

        Raises Interrupted if `should_stop` becomes true meanwhile, DataError if the model gives what is not finite.
        """
        first, stop = step * batch_size, (step + 1) * batch_size
        x = torch.empty(batch_size, self._d_in)
        at = first
        while at < stop:
            number, within = divmod(at, self._rows)
            end = min(stop, (number + 1) * self._rows)
            order = self._reading_order(number)
            for selection in order.selections(within, within + end - at):
                chunk = self._chunk(number, selection.chunk)
                x[torch.from_numpy(selection.places + at - first)] = chunk[torch.from_numpy(selection.rows)].float()
            at = end
        return self._normaliser.normalise(x)

    def evaluation(self, batch_size: int) -> Iterator[Float[Tensor, "batch d_in"]]:
        """Yield the held-out rows in order, the same as those of a `cached` source; the last batch may be shorter."""
        return self._held_out.evaluation(batch_size)

    def _reading_order(self, number: int) -> ReadingOrder:
        if self._order is None or self._order[0] != number:
            order = ReadingOrder(
                self._contexts.rows, buffer_rows=self._spec.buffer_tokens, seed=self._spec.seed, number=number
            )
            self._order = (number, order)
        return self._order[1]

    def _chunk(self, number: int, chunk: int) -> Float[Tensor, "rows d_in"]:
        """Return the activations of a chunk of pass `number`; room is made for it before it is filled.

        The chunk that was filled first is the first to go: read in sequence, it is the one that is done with.
        """
        key = (number, chunk)
        if key not in self._buffer:
            while len(self._buffer) >= _BUFFERED:
                del self._buffer[next(iter(self._buffer))]
            self._buffer[key] = self._filled(self._reading_order(number).contexts(chunk))
        return self._buffer[key]

    def _filled(self, numbers: np.typing.NDArray[np.int64]) -> Float[Tensor, "rows d_in"]:
        ends = np.cumsum(self._contexts.rows[numbers])
        rows = torch.empty(int(ends[-1]), self._d_in, dtype=getattr(torch, self._spec.dtype))
        filled = 0
        for contexts_at_once in self._layout.passes(range(len(numbers))):
            if self._should_stop():
                raise Interrupted("asked to stop while filling the buffer of activations")
            codes = self._contexts.take(numbers[contexts_at_once.start : contexts_at_once.stop])
            values = kept_rows(self._model(), codes, self._spec)
            rows[filled : filled + len(values)] = values
            filled += len(values)
        return rows
