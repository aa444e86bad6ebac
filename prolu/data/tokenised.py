"""The contexts of a corpus in the cache: tokenised once for every hook, block and mode that reads the same text.

Arrays are pieces of (contexts, context_length) codes (see `prolu.data.contexts`), so that neither writing nor reading them
takes memory for the whole corpus.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prolu.data.cache_entry import Entry, Split
from prolu.data.contexts import Codes, Packer, Packing, pack, token_ids
from prolu.data.corpora import OpenCorpus
from prolu.data.language_model import load_tokenizer
from prolu.data.locking import only_one
from prolu.data.model_files import ModelFiles
from prolu.data.places import DataError, Interrupted, Places
from prolu.data.source import Notify, ShouldStop
from prolu.spec.data import LanguageModelData
from prolu.spec.report import Progress

# Changes when the same recipe would give other contexts.
_FORMAT = 1
_PIECE_TOKENS = 4 * 2**20


class Contexts:
    """The contexts of one split, and how many activations each of them keeps (at least one)."""

    def __init__(self, pieces: Sequence[Codes]) -> None:
        self._pieces = list(pieces)
        self._ends = np.cumsum([len(piece) for piece in pieces])
        self.rows = np.concatenate([(piece >= 0).sum(axis=1) for piece in pieces])
        """Activations kept of each context, shape (contexts,)."""

    def __len__(self) -> int:
        return int(self._ends[-1])

    def take(self, numbers: NDArray[np.int64]) -> Codes:
        """Return the contexts with these numbers, in that order, shape (numbers, context_length)."""
        places = np.searchsorted(self._ends, numbers, side="right")
        starts = np.concatenate([[0], self._ends[:-1]])
        taken = np.empty((len(numbers), self._pieces[0].shape[1]), np.int32)
        for place in np.unique(places):
            here = places == place
            taken[here] = self._pieces[place][numbers[here] - starts[place]]
        return taken


def contexts_recipe(spec: LanguageModelData, files: ModelFiles, corpus: OpenCorpus) -> dict[str, Any]:
    """Return everything that the contexts depend on, as plain data."""
    return {
        "contexts_format": _FORMAT,
        "tokenizer": files.tokenizer,
        "corpus": corpus.identity,
        "context_length": spec.context_length,
        "packing": spec.packing,
        "prepend_bos": spec.prepend_bos,
        "special_tokens": spec.special_tokens,
        "skip_positions": spec.skip_positions,
        "tokens": spec.tokens,
        "eval_tokens": spec.eval_tokens,
        "held_out_share": spec.held_out_share,
    }


def open_contexts(
    spec: LanguageModelData,
    files: ModelFiles,
    corpus: OpenCorpus,
    places: Places,
    *,
    notify: Notify,
    should_stop: ShouldStop,
    piece_tokens: int = _PIECE_TOKENS,
) -> dict[Split, Contexts]:
    """Return the contexts of `spec`, which keep exactly `tokens` and `eval_tokens` activations, from the cache if they are there.

    Raises DataError if the corpus is too small or the tokenizer does not suit, Interrupted if asked to stop.
    """
    entry = Entry.of(contexts_recipe(spec, files, corpus), places.cache_dir / "contexts")
    preparing = Progress(phase="preparing", done=0, total=spec.tokens)
    opened = entry.open(places.cache_dir)
    if opened is None:
        with only_one(entry.lock, waiting=lambda: notify(preparing), should_stop=should_stop):
            opened = entry.open(places.cache_dir)
            if opened is None:
                _Tokenisation(entry, spec, files, corpus, notify, should_stop, piece_tokens).run()
                opened = entry.open(places.cache_dir)
    if opened is None:
        raise OSError(f"{entry.folder} does not hold what was just written to it; check the disk of the cache folder")
    largest = opened.facts["largest_id"]
    if largest >= files.shape.vocabulary:
        raise DataError(
            f"data.model is {spec.model!r}, which knows {files.shape.vocabulary} token ids, but its tokenizer gave "
            f"{largest}; name a model with its own tokenizer."
        )
    return {
        split: Contexts([part.array.astype(np.int32, copy=False) for part in opened.parts[split]]) for split in _SIDES
    }


_SIDES: dict[Split, bool] = {"train": False, "held_out": True}


@dataclass
class _Tokenisation:
    """The work of filling one entry with contexts; the caller holds the entry's lock."""

    entry: Entry
    spec: LanguageModelData
    files: ModelFiles
    corpus: OpenCorpus
    notify: Notify
    should_stop: ShouldStop
    piece_tokens: int
    largest_id: int = field(init=False, default=0)

    def run(self) -> None:
        spec = self.spec
        self.entry.tidy()
        for path in (path for split in _SIDES for path in self.entry.present(split)):
            path.unlink()  # a tokenisation that was interrupted starts anew
        tokenizer = load_tokenizer(self.files, spec.model)
        packing = packing_of(spec, tokenizer)
        packers: dict[Split, Packer] = {
            "train": Packer(packing, spec.tokens),
            "held_out": Packer(packing, spec.eval_tokens),
        }
        pieces = {split: _Pieces(self._writer(split), max(1, self.piece_tokens // packing.length)) for split in _SIDES}

        def write(held_out: bool, contexts: Codes) -> None:
            pieces["held_out" if held_out else "train"].add(contexts)

        def progress() -> None:
            self.notify(Progress(phase="preparing", done=packers["train"].rows, total=spec.tokens))
            if self.should_stop():
                raise Interrupted("asked to stop while reading the corpus")

        documents = pack(
            self.corpus.documents(),
            tokenizer,
            train=packers["train"],
            held_out=packers["held_out"],
            share=spec.held_out_share,
            write=write,
            progress=progress,
        )
        self._require_enough(packers, documents)
        self.entry.finish({split: pieces[split].finish() for split in _SIDES}, {"largest_id": self.largest_id})

    def _writer(self, split: Split) -> Callable[[int, Codes], Path]:
        def write(number: int, contexts: Codes) -> Path:
            self.largest_id = max(self.largest_id, int(token_ids(contexts).max()))
            return self.entry.write(split, number, contexts)

        return write

    def _require_enough(self, packers: dict[Split, Packer], documents: int) -> None:
        spec = self.spec
        corpus = f"data.corpus ({spec.corpus.kind}, {documents} documents, {spec.held_out_share:.0%} of them held out)"
        if documents == 0:
            raise DataError(f"data.corpus ({spec.corpus.kind}) holds no text; name another or fill it.")
        if not packers["train"].full:
            raise DataError(
                f"data.tokens is {spec.tokens}, but the training documents of {corpus} give only "
                f"{packers['train'].rows}; ask for fewer, add text or lower data.held_out_share."
            )
        if not packers["held_out"].full:
            raise DataError(
                f"data.eval_tokens is {spec.eval_tokens}, but the held-out documents of {corpus} give only "
                f"{packers['held_out'].rows}; ask for fewer, add text or raise data.held_out_share."
            )


def packing_of(spec: LanguageModelData, tokenizer: Any) -> Packing:
    """Return how `spec` packs with this tokenizer. Raises DataError if it asks for a token that the tokenizer lacks.

    Special tokens are all that the tokenizer calls so: beginning, end, padding, unknown, and the markers that were added to it.
    """
    if spec.prepend_bos and tokenizer.bos_token_id is None:
        raise DataError(
            f"data.prepend_bos is true, but the tokenizer of {spec.model} has no beginning-of-sequence token; leave it out."
        )
    marked = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    return Packing(
        length=spec.context_length,
        by_document=spec.packing == "document",
        first=(tokenizer.bos_token_id,) if spec.prepend_bos else (),
        closing=() if tokenizer.eos_token_id is None else (tokenizer.eos_token_id,),
        dropped_ids=frozenset(marked | set(tokenizer.all_special_ids))
        if spec.special_tokens == "drop"
        else frozenset(),
        skip=spec.skip_positions,
    )


class _Pieces:
    """Collects contexts and writes them in pieces of `size`."""

    def __init__(self, write: Callable[[int, Codes], Path], size: int) -> None:
        self._write = write
        self._size = size
        self._collected: list[Codes] = []
        self._paths: list[Path] = []

    def add(self, contexts: Codes) -> None:
        self._collected.append(contexts)
        if sum(map(len, self._collected)) >= self._size:
            together = np.concatenate(self._collected)
            while len(together) >= self._size:
                self._paths.append(self._write(len(self._paths), together[: self._size]))
                together = together[self._size :]
            self._collected = [together]

    def finish(self) -> list[Path]:
        """Write what is left and return the paths of all pieces."""
        rest = np.concatenate(self._collected)
        if len(rest):
            self._paths.append(self._write(len(self._paths), rest))
        return self._paths
