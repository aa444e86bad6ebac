"""Open the activations of a language model: extracted once for every run that asks for the same, or streamed."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from prolu.data.cache_entry import Entry, Split
from prolu.data.corpora import OpenCorpus, open_corpus
from prolu.data.extraction import Extraction, Layout
from prolu.data.language_model import LanguageModel, load_model
from prolu.data.language_model_rms import training_rms
from prolu.data.locking import only_one
from prolu.data.model_files import ModelFiles, find_model
from prolu.data.places import Places
from prolu.data.rows import Rows
from prolu.data.source import ActivationSource, Notify, ShouldStop
from prolu.data.splicing import SplicedModel, open_spliced
from prolu.data.stored import StoredSource
from prolu.data.streaming import StreamingSource
from prolu.data.tokenised import Contexts, contexts_recipe, open_contexts
from prolu.models.normalisation import Normaliser
from prolu.spec.base import digest_of
from prolu.spec.data import LanguageModelData
from prolu.spec.report import Progress

# Changes when the same recipe would give other activations.
_FORMAT = 2
# A killed extraction loses at most one array: a few seconds of work on a CPU.
_SHARD_BYTES = 16 * 2**20


def open_language_model(
    spec: LanguageModelData,
    places: Places,
    *,
    notify: Notify,
    should_stop: ShouldStop,
    shard_bytes: int = _SHARD_BYTES,
) -> ActivationSource:
    """Return the activations of `spec`, extracting first what is to be stored of them if no process has done so.

    Held-out activations are always stored; training activations unless `spec.mode` is streaming. One process extracts; others
    that need the same wait for it, and one of them goes on if it dies. The source asks `should_stop` during work that it does
    later: filling a streaming buffer, measuring cross-entropy.
    Raises DataError if model or corpus cannot be used, Interrupted if asked to stop.
    """
    preparing = Progress(phase="preparing", done=0, total=0)
    notify(preparing)
    files = find_model(spec, places, waiting=lambda: notify(preparing), should_stop=should_stop)
    corpus = open_corpus(spec.corpus, places)
    return _Opening(
        spec,
        places,
        files,
        corpus,
        Layout.of(spec, d_in=files.shape.d_in, shard_bytes=shard_bytes),
        notify,
        should_stop,
    ).source()


@dataclass(frozen=True)
class _Opening:
    """What is known while a source is being opened; contexts and model are loaded if something asks for them."""

    spec: LanguageModelData
    places: Places
    files: ModelFiles
    corpus: OpenCorpus
    layout: Layout
    notify: Notify
    should_stop: ShouldStop

    def source(self) -> ActivationSource:
        spec = self.spec
        splits = self._stored_splits()
        rms = None
        if spec.normalisation == "dataset_rms":
            rms = training_rms(
                self._entry,
                spec,
                self.layout,
                self.contexts["train"],
                stored=splits.get("train"),
                model=lambda: self.model,
                notify=self.notify,
                should_stop=self.should_stop,
            )
        normaliser = Normaliser(spec.normalisation, rms)
        if spec.mode == "streaming":
            return StreamingSource(
                spec,
                self.layout,
                self.contexts["train"],
                splits["held_out"],
                identity=self._identity,
                d_in=self.files.shape.d_in,
                model=lambda: self.model,
                normaliser=normaliser,
                spliced=self._spliced(),
                should_stop=self.should_stop,
            )
        return StoredSource(
            splits["train"],
            splits["held_out"],
            identity=self._identity,
            seed=spec.seed,
            normaliser=normaliser,
            spliced=self._spliced(),
        )

    @functools.cached_property
    def contexts(self) -> dict[Split, Contexts]:
        return open_contexts(
            self.spec, self.files, self.corpus, self.places, notify=self.notify, should_stop=self.should_stop
        )

    @functools.cached_property
    def model(self) -> LanguageModel:
        return load_model(self.files, self.spec)

    @property
    def _identity(self) -> str:
        model, corpus = digest_of(self.files.identity)[:8], digest_of(self.corpus.identity)[:8]
        return f"model {model}, corpus {corpus}, sha256 of these and the rest {digest_of(self._entry.recipe)[:16]}"

    @functools.cached_property
    def _entry(self) -> Entry:
        return Entry.of(recipe(self.spec, self.files, self.corpus, self.layout), self.places.cache_dir / "activations")

    def _stored_splits(self) -> dict[Split, Rows]:
        entry, cache_dir = self._entry, self.places.cache_dir
        opened = entry.open(cache_dir)
        if opened is None:
            with only_one(entry.lock, waiting=_waiting(entry, self.spec, self.notify), should_stop=self.should_stop):
                opened = entry.open(cache_dir)
                if opened is None:
                    self._extract()
                    opened = entry.open(cache_dir)
        if opened is None:
            raise OSError(
                f"{entry.folder} does not hold what was just written to it; check the disk of the cache folder"
            )
        return {split: Rows(opened.parts[split]) for split in stored_splits(self.spec)}

    def _extract(self) -> None:
        Extraction(
            self._entry,
            self.spec,
            self.layout,
            {split: self.contexts[split] for split in stored_splits(self.spec)},
            lambda: self.model,
            self.notify,
            self.should_stop,
        ).run()

    def _spliced(self) -> SplicedModel | None:
        if self.spec.ce_tokens == 0:
            return None
        return open_spliced(
            self.spec,
            model_recipe(self.spec, self.files, self.corpus),
            self.contexts["held_out"],
            self.places,
            model=lambda: self.model,
            notify=self.notify,
            should_stop=self.should_stop,
        )


def stored_splits(spec: LanguageModelData) -> tuple[Split, ...]:
    """Return which activations lie on disk, in the order in which they are extracted."""
    return ("held_out",) if spec.mode == "streaming" else ("held_out", "train")


def model_recipe(spec: LanguageModelData, files: ModelFiles, corpus: OpenCorpus) -> dict[str, Any]:
    """Return everything that a value at the hook depends on, as plain data."""
    return contexts_recipe(spec, files, corpus) | {"model": files.identity, "hook": spec.hook, "block": spec.block}


def recipe(spec: LanguageModelData, files: ModelFiles, corpus: OpenCorpus, layout: Layout) -> dict[str, Any]:
    """Return everything that the stored activations depend on, as plain data; its digest names the cache entry.

    They are stored as the model gave them and normalised when read, so specs that differ in `normalisation`, `seed` or
    `ce_tokens` share them.
    """
    return model_recipe(spec, files, corpus) | {
        "format": _FORMAT,
        "splits": list(stored_splits(spec)),
        "dtype": spec.dtype,
        "normalisation": "raw",
        "contexts_per_shard": layout.contexts_per_shard,
    }


def _waiting(entry: Entry, spec: LanguageModelData, notify: Notify) -> Callable[[], None]:
    """Return a function that says how far the process that extracts has come, whenever that has changed."""
    wanted = {"train": spec.tokens, "held_out": spec.eval_tokens}
    rows: dict[str, int] = {}
    told = -1

    def tell() -> None:
        nonlocal told
        for path in (path for split in stored_splits(spec) for path in entry.present(split)):
            if path.name not in rows:
                # Whoever extracts removes an array that turns out to be damaged.
                with contextlib.suppress(FileNotFoundError, ValueError):
                    rows[path.name] = len(np.load(path, mmap_mode="r", allow_pickle=False))
        done = sum(rows.values())
        if done != told:
            told = done
            total = sum(wanted[split] for split in stored_splits(spec))
            notify(Progress(phase="waiting_for_extraction", done=min(done, total), total=total))

    return tell
