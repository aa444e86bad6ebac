"""Documents into contexts: packing, splitting, what is kept of them, stopping."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from prolu.data.contexts import UNUSED, Packer, Packing, dropped, is_held_out, pack, token_ids
from tests.data.conftest import documents

END_TO_END = Packing(length=16, by_document=False, first=(), closing=(1,), dropped_ids=frozenset(), skip=0)


@pytest.fixture(scope="module")
def tokenizer(tiny_models: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny_models / "llama")


def _pack(
    texts: Iterable[str],
    tokenizer: Any,
    *,
    train: int,
    held_out: int,
    share: float,
    packing: Packing = END_TO_END,
    progress: Callable[[], None] = lambda: None,
) -> tuple[np.ndarray, np.ndarray, int]:
    """Training contexts, held-out contexts, and how many documents were read."""
    written: dict[bool, list[np.ndarray]] = {side: [np.empty((0, packing.length), np.int32)] for side in (False, True)}
    sides = {"train": Packer(packing, train), "held_out": Packer(packing, held_out)}
    read = pack(
        texts,
        tokenizer,
        **sides,
        share=share,
        write=lambda side, contexts: written[side].append(contexts),
        progress=progress,
    )
    return np.concatenate(written[False]), np.concatenate(written[True]), read


def test_documents_are_packed_end_to_end_with_an_end_token_between(tokenizer: Any) -> None:
    texts = documents(200, 11)
    train, held_out, _ = _pack(texts, tokenizer, train=60 * 16, held_out=10 * 16, share=0.3)
    for array, count, side in ((train, 60, False), (held_out, 10, True)):
        assert array.shape == (count, 16)
        chosen = [text for text in texts if is_held_out(text, 0.3) is side]
        ids = [id_ for text in chosen for id_ in [*(tokenizer.convert_tokens_to_ids(word) for word in text.split()), 1]]
        assert array.reshape(-1).tolist() == ids[: array.size]


def test_a_document_may_begin_a_context_of_its_own_whose_rest_is_unused() -> None:
    packer = Packer(replace(END_TO_END, length=4, by_document=True), 100)
    contexts = packer.add([[5, 6], [7, 8, 9, 10, 11]])
    assert contexts.tolist() == [[5, 6, 1, UNUSED], [7, 8, 9, 10], [11, 1, UNUSED, UNUSED]]
    assert packer.rows == 9


@pytest.mark.parametrize("by_document", [False, True])
def test_every_context_begins_with_the_first_token(by_document: bool) -> None:
    packer = Packer(replace(END_TO_END, length=4, first=(3,), by_document=by_document), 100)
    contexts = packer.add([[5, 6, 7, 8, 9]])
    assert contexts.tolist() == [[3, 5, 6, 7], [3, 8, 9, 1]]


def test_dropped_tokens_are_read_and_not_kept() -> None:
    packer = Packer(replace(END_TO_END, length=6, first=(3,), dropped_ids=frozenset({1, 3})), 100)
    contexts = packer.add([[5, 6], [7], [8]])
    assert token_ids(contexts).tolist() == [[3, 5, 6, 1, 7, 1]]
    assert contexts.tolist() == [[-5, 5, 6, -3, 7, -3]]
    assert packer.rows == 3


def test_skipped_positions_count_from_the_start_of_the_context_dropped_tokens_included() -> None:
    packer = Packer(replace(END_TO_END, length=6, first=(3,), dropped_ids=frozenset({1, 3}), skip=2), 100)
    assert (packer.add([[5, 6, 7, 8, 9]]) >= 0).tolist() == [[False, False, True, True, True, True]]


def test_a_context_of_which_nothing_is_kept_is_left_out() -> None:
    packer = Packer(replace(END_TO_END, length=4, by_document=True, skip=2), 100)
    assert token_ids(packer.add([[5], [6, 7, 8]])).tolist() == [[6, 7, 8, 1]]


def test_without_an_end_token_documents_touch() -> None:
    packer = Packer(replace(END_TO_END, length=6, closing=()), 6)
    assert packer.add([[2, 3, 4], [5, 6, 7]]).tolist() == [[2, 3, 4, 5, 6, 7]]


@given(
    ids=st.lists(st.lists(st.integers(0, 9), max_size=9), max_size=12),
    length=st.integers(2, 7),
    skip=st.integers(0, 1),
    by_document=st.booleans(),
    first=st.sampled_from([(), (2,)]),
    wanted=st.integers(1, 40),
)
@settings(max_examples=200, deadline=None)
def test_contexts_keep_what_is_wanted_and_no_token_is_lost_or_doubled(
    ids: list[list[int]], length: int, skip: int, by_document: bool, first: tuple[int, ...], wanted: int
) -> None:
    packing = Packing(length, by_document, first, (1,), frozenset({1, 2}), skip)
    one, several = Packer(packing, wanted), Packer(packing, wanted)
    contexts = one.add(ids)
    assert np.array_equal(contexts, np.concatenate([several.add([document]) for document in ids] or [contexts]))
    kept = contexts >= 0
    assert kept.any(axis=1).all()
    assert kept.sum() == one.rows <= wanted
    assert not np.isin(token_ids(contexts)[kept], [1, 2]).any()
    assert not kept[:, :skip].any()
    unused = contexts == UNUSED
    assert (np.diff(unused.astype(int), axis=1) >= 0).all()  # unused positions are on the right
    assert by_document or not unused.any()
    if skip == 0:
        flat = [token for document in ids for token in document if token not in (1, 2)]
        assert token_ids(contexts)[kept].tolist() == flat[: one.rows]
        if not by_document:
            assert one.full or one.rows >= len(flat) - length


def test_dropping_twice_keeps_again() -> None:
    codes = np.array([[0, 7, UNUSED]], np.int32)
    assert dropped(codes).tolist() == [[-2, -9, UNUSED]]
    assert dropped(dropped(codes)).tolist() == codes.tolist()


def test_reading_ends_when_both_sides_are_full(tokenizer: Any) -> None:
    read = 0

    def endless() -> Any:
        nonlocal read
        while True:
            read += 1
            yield from documents(1, 40, seed=read)

    _pack(endless(), tokenizer, train=320, held_out=320, share=0.5)
    assert 16 <= read <= 64


def test_what_a_small_corpus_fills_is_counted_in_whole_contexts(tokenizer: Any) -> None:
    train, held_out, read = _pack(["w1 " * 40, " \n", ""], tokenizer, train=160, held_out=160, share=0.0)
    assert (read, len(train), len(held_out)) == (1, 2, 0)  # 41 tokens in contexts of 16


def test_reading_can_be_stopped_before_each_group_of_documents(tokenizer: Any) -> None:
    asked = 0

    def progress() -> None:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        _pack(documents(200, 5), tokenizer, train=10**6, held_out=1, share=0.5, progress=progress)


def test_the_split_depends_on_the_text_alone_and_grows_with_the_share() -> None:
    texts = documents(4_000, 5)
    small = {text for text in texts if is_held_out(text, 0.05)}
    large = {text for text in texts if is_held_out(text, 0.3)}
    assert small < large
    assert abs(len(small) / 4_000 - 0.05) < 0.015
    assert abs(len(large) / 4_000 - 0.3) < 0.03
