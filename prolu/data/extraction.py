"""Extract the activations of a language model into an entry of the cache, or go on where a killed process left off.

Every array is a function of the recipe and its own number alone, so an extraction that was interrupted, however hard,
ends with the same bytes as one that was not (on the same kind of processor and number of threads).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from prolu.data.activation_entry import SPLITS, Entry, Split
from prolu.data.contexts import held_out_share, pack
from prolu.data.corpora import OpenCorpus
from prolu.data.language_model import LanguageModel, load_model, load_tokenizer
from prolu.data.model_files import ModelFiles
from prolu.data.places import DataError, Interrupted
from prolu.data.source import Notify, ShouldStop
from prolu.spec.data import LanguageModelData
from prolu.spec.report import Progress

# A CPU was fastest at 512 to 1,024 tokens a forward pass, and the smaller hears a wish to stop sooner; a GPU wants more.
_TOKENS_AT_ONCE = {"cpu": 512, "cuda": 16_384}
_REPORTS = 1_000
_MOST_SHARDS = 2_048
_ITEM_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True)
class Layout:
    """How the activations of a spec are divided into arrays."""

    tokens: dict[Split, int]
    """Activations wanted."""
    rows_per_context: int
    """Activations kept of each context."""
    contexts_per_shard: int
    """Contexts whose activations lie in one array."""

    @staticmethod
    def of(spec: LanguageModelData, *, d_in: int, shard_bytes: int) -> Layout:
        """Divide into arrays of about `shard_bytes`, or larger ones if there would be more than 2,048."""
        rows = spec.context_length - spec.skip_positions
        per_shard = shard_bytes // (rows * d_in * _ITEM_BYTES[spec.dtype])
        at_least = math.ceil(spec.tokens / rows / _MOST_SHARDS)
        return Layout({"train": spec.tokens, "held_out": spec.eval_tokens}, rows, max(1, per_shard, at_least))

    def contexts(self, split: Split) -> int:
        """Contexts that a split needs."""
        return math.ceil(self.tokens[split] / self.rows_per_context)

    def shards(self, split: Split) -> list[range]:
        """The contexts of each array."""
        contexts, step = self.contexts(split), self.contexts_per_shard
        return [range(first, min(first + step, contexts)) for first in range(0, contexts, step)]

    def rows(self, split: Split, contexts: range) -> int:
        """Activations in the array of these contexts; the last one is cut where the spec says."""
        return min(contexts.stop * self.rows_per_context, self.tokens[split]) - contexts.start * self.rows_per_context


@dataclass(frozen=True)
class Extraction:
    """The work of filling one entry of the cache; the caller holds the entry's lock."""

    entry: Entry
    """Where the arrays go."""
    spec: LanguageModelData
    """What is asked for."""
    layout: Layout
    """How it is divided."""
    files: ModelFiles
    """The model."""
    corpus: OpenCorpus
    """The text."""
    notify: Notify
    """Hears how far it is."""
    should_stop: ShouldStop
    """Asked before each forward pass."""

    def run(self) -> None:
        """Write the arrays that are missing, then the manifest.

        Raises DataError if the corpus is too small or the model gives what cannot be stored, Interrupted if asked to stop.
        Arrays that were finished are kept in either case.
        """
        self.entry.tidy()
        tokens = self._tokens()
        progress = _Progress(sum(self.layout.tokens.values()), self.notify, self.should_stop)
        model: LanguageModel | None = None
        parts: dict[Split, list[Path]] = {"held_out": [], "train": []}
        for split in SPLITS:
            for number, contexts in enumerate(self.layout.shards(split)):
                stem = f"{split}-{number:05d}"
                rows = self.layout.rows(split, contexts)
                path = self.entry.find(stem)
                if path is None:
                    model = model or load_model(self.files, self.spec.model)
                    ids = torch.from_numpy(tokens[split][contexts.start : contexts.stop].astype(np.int64))
                    activations = self._activations(model, ids, progress.within)
                    path = self.entry.write(stem, _stored(activations[:rows], self.spec))
                progress.finish(rows)
                parts[split].append(path)
        self.entry.finish(parts, self.files.shape.d_in)

    def _tokens(self) -> dict[Split, NDArray[np.int32]]:
        """Return the contexts of each split, kept in the entry: a corpus that changes underneath cannot mix with itself."""
        kept = {split: self.entry.find(f"tokens-{split}") for split in SPLITS}
        if any(path is None for path in kept.values()):
            kept = {split: self.entry.write(f"tokens-{split}", array) for split, array in self._read_corpus().items()}
        return {split: np.load(path, mmap_mode="r", allow_pickle=False) for split, path in kept.items() if path}

    def _read_corpus(self) -> dict[Split, NDArray[np.int32]]:
        spec, layout = self.spec, self.layout
        arrays: dict[Split, NDArray[np.int32]] = {
            split: np.empty((layout.contexts(split), spec.context_length), dtype=np.int32) for split in SPLITS
        }

        def progress(contexts: int) -> None:
            done = contexts * spec.context_length
            self.notify(Progress(phase="preparing", done=done, total=arrays["train"].size))
            if self.should_stop():
                raise Interrupted("asked to stop while reading the corpus")

        share = held_out_share(spec.tokens, spec.eval_tokens)
        packed = pack(
            self.corpus.documents(),
            load_tokenizer(self.files, spec.model),
            train=arrays["train"],
            held_out=arrays["held_out"],
            share=share,
            progress=progress,
        )
        corpus = f"data.corpus ({spec.corpus.kind}, {packed.documents} documents, {share:.0%} of them held out)"
        if packed.documents == 0:
            raise DataError(f"data.corpus ({spec.corpus.kind}) holds no text; name another or fill it.")
        if packed.train < layout.contexts("train"):
            raise DataError(
                f"data.tokens is {spec.tokens}, but the training documents of {corpus} give only "
                f"{packed.train * layout.rows_per_context}; ask for fewer or add text."
            )
        if packed.held_out < layout.contexts("held_out"):
            raise DataError(
                f"data.eval_tokens is {spec.eval_tokens}, but the held-out documents of {corpus} give only "
                f"{packed.held_out * layout.rows_per_context}; ask for fewer or add text."
            )
        largest = max(int(array.max()) for array in arrays.values())
        if largest >= self.files.shape.vocabulary:
            raise DataError(
                f"data.model is {spec.model!r}, which knows {self.files.shape.vocabulary} token ids, but its tokenizer gave "
                f"{largest}; name a model with its own tokenizer."
            )
        return arrays

    def _activations(
        self, model: LanguageModel, tokens: Int[Tensor, "contexts positions"], progress: Callable[[int], None]
    ) -> Float[Tensor, "rows d_in"]:
        spec = self.spec
        at_once = max(1, _TOKENS_AT_ONCE[model.device.type] // spec.context_length)
        found = []
        for number, contexts in enumerate(tokens.split(at_once)):
            progress(number * at_once * self.layout.rows_per_context)
            residual = model.residual(contexts, hook=spec.hook, block=spec.block)
            # (contexts, positions, d_in) -> (contexts * kept positions, d_in)
            found.append(residual[:, spec.skip_positions :].flatten(0, 1))
        return torch.cat(found)


def _stored(rows: Float[Tensor, "rows d_in"], spec: LanguageModelData) -> NDArray[np.generic]:
    """Return the rows in the precision of `spec`. Raises DataError if one of them is not finite there."""
    dtype: torch.dtype = getattr(torch, spec.dtype)
    stored = rows.to(dtype)
    if not torch.isfinite(stored).all():
        raise DataError(
            f"data.dtype is {spec.dtype}, but {spec.model} has activations at {spec.hook} of block {spec.block} that are NaN, "
            f"infinite or too large for it (largest {rows.abs().max():.3g}); choose float32 or another block."
        )
    if dtype is torch.bfloat16:
        bits: NDArray[np.generic] = stored.view(torch.int16).numpy().view(np.uint16)
        return bits
    values: NDArray[np.generic] = stored.numpy()
    return values


class _Progress:
    """Says how many activations are there, at most 1,000 times in all, and stops the work when asked to."""

    def __init__(self, total: int, notify: Notify, should_stop: ShouldStop) -> None:
        self._total = total
        self._notify = notify
        self._should_stop = should_stop
        self._finished = 0
        self._told = -total

    def within(self, rows: int) -> None:
        """`rows` of the present array have been computed."""
        if self._should_stop():
            raise Interrupted("asked to stop while extracting activations")
        self._tell(self._finished + rows)

    def finish(self, rows: int) -> None:
        """An array of `rows` is in its place."""
        self._finished += rows
        self._tell(self._finished)

    def _tell(self, done: int) -> None:
        if done - self._told >= self._total / _REPORTS or done == self._total:
            self._told = done
            self._notify(Progress(phase="extracting", done=done, total=self._total))
