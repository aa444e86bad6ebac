"""Open the activations of a language model, extracted once for every run that asks for the same."""

from __future__ import annotations

from collections.abc import Callable

from prolu.data.activation_entry import SPLITS, Entry, Split
from prolu.data.corpora import OpenCorpus, open_corpus
from prolu.data.extraction import Extraction, Layout
from prolu.data.locking import only_one
from prolu.data.model_files import ModelFiles, find_model
from prolu.data.places import Places
from prolu.data.rms import fit_normaliser
from prolu.data.rows import Rows
from prolu.data.source import Notify, ShouldStop
from prolu.data.stored import StoredSource
from prolu.spec.data import LanguageModelData
from prolu.spec.report import Progress

# Changes when the same recipe would give other activations.
_FORMAT = 1
# A killed extraction loses at most one array: a few seconds of work on a CPU.
_SHARD_BYTES = 16 * 2**20


def open_language_model(
    spec: LanguageModelData,
    places: Places,
    *,
    notify: Notify,
    should_stop: ShouldStop,
    shard_bytes: int = _SHARD_BYTES,
) -> StoredSource:
    """Return the activations of `spec`, extracting them first if no process has done so.

    One process extracts; others that need the same wait for it, and one of them goes on if it dies.
    Raises DataError if model or corpus cannot be used, Interrupted if asked to stop.
    """
    preparing = Progress(phase="preparing", done=0, total=0)
    notify(preparing)
    files = find_model(spec, places, waiting=lambda: notify(preparing), should_stop=should_stop)
    corpus = open_corpus(spec.corpus, places)
    layout = Layout.of(spec, d_in=files.shape.d_in, shard_bytes=shard_bytes)
    entry = Entry.of(recipe(spec, files, corpus, layout), places.cache_dir)
    splits = entry.open(places.cache_dir)
    if splits is None:
        with only_one(entry.lock, waiting=_waiting(entry, layout, notify), should_stop=should_stop):
            splits = entry.open(places.cache_dir)
            if splits is None:
                Extraction(entry, spec, layout, files, corpus, notify, should_stop).run()
                splits = entry.open(places.cache_dir)
    if splits is None:
        raise OSError(f"{entry.folder} does not hold what was just written to it; check the disk of the cache folder")
    return _source(splits, spec)


def recipe(spec: LanguageModelData, files: ModelFiles, corpus: OpenCorpus, layout: Layout) -> dict[str, object]:
    """Return everything that the stored activations depend on, as plain data; its digest names the cache entry.

    They are stored as the model gave them and normalised when read, so specs that differ in `normalisation` or `seed` share them.
    """
    return {
        "format": _FORMAT,
        "model": files.identity,
        "tokenizer": files.tokenizer,
        "corpus": corpus.identity,
        "hook": spec.hook,
        "block": spec.block,
        "context_length": spec.context_length,
        "skip_positions": spec.skip_positions,
        "tokens": spec.tokens,
        "eval_tokens": spec.eval_tokens,
        "dtype": spec.dtype,
        "normalisation": "raw",
        "contexts_per_shard": layout.contexts_per_shard,
    }


def _waiting(entry: Entry, layout: Layout, notify: Notify) -> Callable[[], None]:
    """Return a function that says how far the process that extracts has come, whenever that has changed."""
    told = -1

    def tell() -> None:
        nonlocal told
        done = sum(
            sum(layout.rows(split, contexts) for contexts in layout.shards(split)[: entry.count(split)])
            for split in SPLITS
        )
        if done != told:
            told = done
            notify(Progress(phase="waiting_for_extraction", done=done, total=sum(layout.tokens.values())))

    return tell


def _source(splits: dict[Split, Rows], spec: LanguageModelData) -> StoredSource:
    normaliser = fit_normaliser(spec.normalisation, splits["train"])
    return StoredSource(splits["train"], splits["held_out"], seed=spec.seed, normaliser=normaliser)
