"""Turn documents into contexts of token ids: split by document, tokenised, packed end to end. Knows no model and no disk."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DOCUMENTS_AT_ONCE = 64
_LEAST_HELD_OUT = 0.05
_MOST_HELD_OUT = 0.5


class Packer:
    """Token ids of one side of the split, filled end to end into an array of shape (contexts, context_length)."""

    def __init__(self, contexts: NDArray[np.int32]) -> None:
        self._flat = contexts.reshape(-1)  # a view: contexts is contiguous
        self._length = int(contexts.shape[1])
        self._filled = 0

    @property
    def full(self) -> bool:
        """Whether every context is complete."""
        return self._filled == len(self._flat)

    @property
    def contexts(self) -> int:
        """Contexts that are complete."""
        return self._filled // self._length

    def add(self, ids: Sequence[int]) -> None:
        """Append ids; what does not fit is dropped."""
        end = min(self._filled + len(ids), len(self._flat))
        self._flat[self._filled : end] = ids[: end - self._filled]
        self._filled = end


def held_out_share(tokens: int, eval_tokens: int) -> float:
    """Return the share of documents to hold out: twice what is needed, since documents differ in length; 5 % at least.

    share = min(1/2, max(1/20, 2 * eval_tokens / (tokens + eval_tokens)))
    """
    return min(_MOST_HELD_OUT, max(_LEAST_HELD_OUT, 2 * eval_tokens / (tokens + eval_tokens)))


def is_held_out(document: str, share: float) -> bool:
    """Whether a document is held out: decided by the hash of its text alone, so that equal documents go the same way.

    What is held out at one share is held out at every larger one.
    """
    digest = hashlib.sha256(document.encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


@dataclass(frozen=True)
class Packed:
    """What `pack` could fill."""

    documents: int
    """Documents that hold text, of those that were read."""
    train: int
    """Complete training contexts."""
    held_out: int
    """Complete held-out contexts."""


def pack(
    documents: Iterable[str],
    tokenizer: Any,
    *,
    train: NDArray[np.int32],
    held_out: NDArray[np.int32],
    share: float,
    progress: Callable[[int], None],
) -> Packed:
    """Read documents until both arrays, of shape (contexts, context_length), are full or the documents end.

    Documents follow each other in their order, each closed by the tokenizer's end-of-sequence token if it has one.
    `progress` is told the number of training contexts from time to time, and may raise to stop.
    """
    sides = {False: Packer(train), True: Packer(held_out)}
    closing = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    read = 0
    for group in _groups(document for document in documents if document.strip()):
        progress(sides[False].contexts)
        wanted = [document for document in group if not sides[is_held_out(document, share)].full]
        read += len(group)
        for document, ids in zip(wanted, _token_ids(wanted, tokenizer), strict=True):
            sides[is_held_out(document, share)].add(ids + closing)
        if sides[False].full and sides[True].full:
            break
    return Packed(read, sides[False].contexts, sides[True].contexts)


def _groups(documents: Iterator[str]) -> Iterator[list[str]]:
    while group := list(itertools.islice(documents, _DOCUMENTS_AT_ONCE)):
        yield group


def _token_ids(documents: list[str], tokenizer: Any) -> list[list[int]]:
    if not documents:
        return []
    # verbose=False: a document longer than a context is no mistake here.
    encoded = tokenizer(documents, add_special_tokens=False, return_attention_mask=False, verbose=False)
    ids: list[list[int]] = encoded["input_ids"]
    return ids
