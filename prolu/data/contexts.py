"""Turn documents into contexts of token ids: split by document, tokenised, packed. Knows no model and no disk.

A context is an int32 array of `context_length` codes, one for each position:

    code >= 0     the token with this id, whose activation is kept
    code == -1    nothing: the rest of a context that a document did not fill; always on the right
    code <= -2    the token with id -2 - code, which the model reads and whose activation is dropped

So what is read and what is kept are told by one array, before any model has run.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

UNUSED = -1
_DOCUMENTS_AT_ONCE = 64

Codes = NDArray[np.int32]


def dropped(codes: Codes) -> Codes:
    """Return the codes of the same tokens with none of their activations kept; an involution, unused positions stay."""
    inverted: Codes = -2 - codes
    return np.where(codes == UNUSED, codes, inverted)


def token_ids(contexts: Codes) -> NDArray[np.int64]:
    """Return the token at each position, 0 at unused ones."""
    read = np.where(contexts < UNUSED, dropped(contexts), contexts)
    return np.maximum(read, 0).astype(np.int64)


@dataclass(frozen=True)
class Packing:
    """How documents become contexts."""

    length: int
    """Positions of a context."""
    by_document: bool
    """Whether each document begins a context of its own, whose rest is unused; otherwise documents follow end to end."""
    first: tuple[int, ...]
    """Tokens that begin every context: none, or the beginning-of-sequence token."""
    closing: tuple[int, ...]
    """Tokens that close every document: none, or the end-of-sequence token."""
    dropped_ids: frozenset[int]
    """Tokens whose activations are dropped."""
    skip: int
    """Positions from a context's start whose activations are dropped."""


class Packer:
    """One side of the split: takes documents until its contexts keep exactly `wanted` activations.

    The last context keeps only as many as are missing. A context that keeps none is left out.
    """

    def __init__(self, packing: Packing, wanted: int) -> None:
        self._packing = packing
        self._wanted = wanted
        self._waiting: list[int] = []
        self.rows = 0
        """Activations kept in the contexts so far."""

    @property
    def full(self) -> bool:
        """Whether as many activations are kept as are wanted."""
        return self.rows == self._wanted

    def add(self, documents: Iterable[list[int]]) -> Codes:
        """Take the token ids of some documents and return the contexts that they complete, shape (contexts, length)."""
        packing, body = self._packing, self._packing.length - len(self._packing.first)
        streams = []
        for ids in documents:
            self._waiting.extend((*ids, *packing.closing))
            if packing.by_document:
                streams.append(self._taken(-(-len(self._waiting) // body)))
        if not packing.by_document:
            streams.append(self._taken(len(self._waiting) // body))
        return self._marked(np.concatenate([np.empty((0, packing.length), np.int32), *streams]))

    def _taken(self, count: int) -> Codes:
        """Return `count` contexts of what waits, the last filled up with unused positions."""
        first, body = self._packing.first, self._packing.length - len(self._packing.first)
        contexts = np.full((count, self._packing.length), UNUSED, np.int32)
        contexts[:, : len(first)] = first
        ids = np.full(count * body, UNUSED, np.int32)
        taken, self._waiting = self._waiting[: len(ids)], self._waiting[len(ids) :]
        ids[: len(taken)] = taken
        contexts[:, len(first) :] = ids.reshape(count, body)
        return contexts

    def _marked(self, contexts: Codes) -> Codes:
        """Mark what is dropped, and end where enough is kept."""
        drop = np.isin(contexts, list(self._packing.dropped_ids))
        drop[:, : self._packing.skip] = True
        contexts = np.where(drop, dropped(contexts), contexts)
        contexts = contexts[(contexts >= 0).any(axis=1)]
        numbers = np.cumsum(contexts >= 0).reshape(contexts.shape)  # the how manieth that is kept
        contexts = np.where((contexts >= 0) & (numbers > self._wanted - self.rows), dropped(contexts), contexts)
        contexts = contexts[(contexts >= 0).any(axis=1)]
        self.rows += int((contexts >= 0).sum())
        return contexts


def is_held_out(document: str, share: float) -> bool:
    """Whether a document is held out: decided by the hash of its text alone, so that equal documents go the same way.

    What is held out at one share is held out at every larger one.
    """
    digest = hashlib.sha256(document.encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def pack(
    documents: Iterable[str],
    tokenizer: Any,
    *,
    train: Packer,
    held_out: Packer,
    share: float,
    write: Callable[[bool, Codes], None],
    progress: Callable[[], None],
) -> int:
    """Read documents until both sides are full or the documents end; return how many were read that hold text.

    `write` is given the side (whether it is held out) and the contexts of each group of documents, in order. `progress` is
    called before each group, and may raise to stop.
    """
    sides = {False: train, True: held_out}
    read = 0
    for group in _groups(document for document in documents if document.strip()):
        progress()
        read += len(group)
        for side, packer in sides.items():
            mine = [document for document in group if is_held_out(document, share) is side]
            if mine and not packer.full:
                write(side, packer.add(_token_ids(mine, tokenizer)))
        if train.full and held_out.full:
            break
    return read


def _groups(documents: Iterator[str]) -> Iterator[list[str]]:
    while group := list(itertools.islice(documents, _DOCUMENTS_AT_ONCE)):
        yield group


def _token_ids(documents: list[str], tokenizer: Any) -> list[list[int]]:
    # verbose=False: a document longer than a context is no mistake here.
    encoded = tokenizer(documents, add_special_tokens=False, return_attention_mask=False, verbose=False)
    ids: list[list[int]] = encoded["input_ids"]
    return ids
