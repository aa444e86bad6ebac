"""Extract the activations of a language model into an entry of the cache, or go on where a killed process left off.

Every array is a function of the recipe and its own number alone, so an extraction that was interrupted, however hard,
ends with the same bytes as one that was not (on the same kind of processor and number of threads).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from prolu.data.cache_entry import Entry, Split
from prolu.data.contexts import UNUSED, Codes, token_ids
from prolu.data.language_model import LanguageModel
from prolu.data.places import DataError
from prolu.data.progression import Progression
from prolu.data.source import Notify, ShouldStop
from prolu.data.tokenised import Contexts
from prolu.spec.data import LanguageModelData

# A CPU was fastest at 512 to 1,024 tokens a forward pass, and the smaller hears a wish to stop sooner; a GPU wants more.
_TOKENS_AT_ONCE = {"cpu": 512, "cuda": 16_384}
_MOST_SHARDS = 2_048
_ITEM_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True)
class Layout:
    """How contexts are divided into arrays, and into forward passes within an array."""

    contexts_per_shard: int
    """Contexts whose activations lie in one array."""
    contexts_per_pass: int
    """Contexts that the model reads at once."""

    @staticmethod
    def of(spec: LanguageModelData, *, d_in: int, shard_bytes: int) -> Layout:
        """Divide into arrays of at most about `shard_bytes`, or larger ones if full contexts would fill more than 2,048."""
        rows = spec.context_length - spec.skip_positions
        per_shard = shard_bytes // (rows * d_in * _ITEM_BYTES[spec.dtype])
        at_least = math.ceil(spec.tokens / rows / _MOST_SHARDS)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return Layout(max(1, per_shard, at_least), max(1, _TOKENS_AT_ONCE[device] // spec.context_length))

    def shards(self, contexts: int) -> list[range]:
        """The contexts of each array."""
        return _stretches(range(contexts), self.contexts_per_shard)

    def passes(self, contexts: range) -> list[range]:
        """The contexts of each forward pass over some consecutive contexts."""
        return _stretches(contexts, self.contexts_per_pass)


@dataclass(frozen=True)
class Extraction:
    """The work of filling one entry of the cache; the caller holds the entry's lock."""

    entry: Entry
    """Where the arrays go."""
    spec: LanguageModelData
    """What is asked for."""
    layout: Layout
    """How it is divided."""
    contexts: dict[Split, Contexts]
    """The text of each split that is to be extracted, in that order."""
    model: Callable[[], LanguageModel]
    """Loads the model, or returns it if it has been loaded."""
    notify: Notify
    """Hears how far it is."""
    should_stop: ShouldStop
    """Asked before each forward pass."""

    def run(self) -> None:
        """Write the arrays that are missing, then the manifest.

        Raises DataError if the model gives what cannot be stored, Interrupted if asked to stop. Arrays that were finished are
        kept in either case.
        """
        self.entry.tidy()
        total = sum(int(contexts.rows.sum()) for contexts in self.contexts.values())
        progress = Progression("extracting", total, self.notify, self.should_stop)
        parts: dict[Split, list[Path]] = {split: [] for split in self.contexts}
        for split, contexts in self.contexts.items():
            for number, shard in enumerate(self.layout.shards(len(contexts))):
                path = self.entry.find(split, number)
                if path is None:
                    activations = torch.cat(list(self._activations(contexts, shard, progress)))
                    path = self.entry.write(split, number, _as_array(activations))
                progress.finish(int(contexts.rows[shard.start : shard.stop].sum()))
                parts[split].append(path)
        self.entry.finish(parts, {})

    def _activations(
        self, contexts: Contexts, shard: range, progress: Progression
    ) -> Iterator[Float[Tensor, "rows d_in"]]:
        done = 0
        for contexts_at_once in self.layout.passes(shard):
            progress.within(done)
            rows = kept_rows(self.model(), contexts.take(np.array(contexts_at_once)), self.spec)
            done += len(rows)
            yield rows


def kept_rows(model: LanguageModel, contexts: Codes, spec: LanguageModelData) -> Float[Tensor, "rows d_in"]:
    """Return the activations that these contexts keep, in reading order, in the precision of `spec`, by one forward pass.

    Raises DataError if one of them is not finite there.
    """
    # No context is longer than the longest, so what is unused in all of them need not be read.
    contexts = contexts[:, (contexts != UNUSED).any(axis=0)]
    values = model.activations(torch.from_numpy(token_ids(contexts)))
    rows = values[torch.from_numpy(contexts >= 0)]  # (contexts, positions, d_in) -> (kept positions, d_in)
    stored = rows.to(getattr(torch, spec.dtype))
    if not torch.isfinite(stored).all():
        raise DataError(
            f"data.dtype is {spec.dtype}, but {spec.model} has activations at {spec.hook} of block {spec.block} that are NaN, "
            f"infinite or too large for it (largest {rows.abs().max():.3g}); choose float32 or another block."
        )
    return stored


def _as_array(rows: Float[Tensor, "rows d_in"]) -> NDArray[np.generic]:
    if rows.dtype is torch.bfloat16:
        bits: NDArray[np.generic] = rows.view(torch.int16).numpy().view(np.uint16)
        return bits
    values: NDArray[np.generic] = rows.numpy()
    return values


def _stretches(numbers: range, length: int) -> list[range]:
    return [numbers[start : start + length] for start in range(0, len(numbers), length)]
