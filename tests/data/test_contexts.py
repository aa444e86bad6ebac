"""Documents into contexts: packing, splitting, stopping."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoTokenizer

from prolu.data.contexts import held_out_share, is_held_out, pack
from tests.data.conftest import documents


@pytest.fixture(scope="module")
def tokenizer(tiny_models: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny_models / "llama")


def _arrays(train: int, held_out: int, length: int = 16) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((train, length), np.int32), np.zeros((held_out, length), np.int32)


def test_documents_are_packed_end_to_end_with_an_end_token_between(tokenizer: Any) -> None:
    texts = documents(200, 11)
    train, held_out = _arrays(60, 10)
    packed = pack(texts, tokenizer, train=train, held_out=held_out, share=0.3, progress=lambda _: None)
    assert (packed.train, packed.held_out) == (60, 10)
    for array, side in ((train, False), (held_out, True)):
        chosen = [text for text in texts if is_held_out(text, 0.3) is side]
        ids = [id_ for text in chosen for id_ in [*(tokenizer.convert_tokens_to_ids(word) for word in text.split()), 1]]
        assert array.reshape(-1).tolist() == ids[: array.size]


def test_without_an_end_token_documents_touch(tiny_models: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_models / "llama")
    tokenizer.eos_token = None
    train, held_out = _arrays(1, 0, length=6)
    pack(["w0 w1 w2", "w3 w4 w5"], tokenizer, train=train, held_out=held_out, share=0.0, progress=lambda _: None)
    assert train.tolist() == [[2, 3, 4, 5, 6, 7]]


def test_reading_ends_when_both_sides_are_full(tokenizer: Any) -> None:
    read = 0

    def endless() -> Any:
        nonlocal read
        while True:
            read += 1
            yield from documents(1, 40, seed=read)

    train, held_out = _arrays(20, 20)
    pack(endless(), tokenizer, train=train, held_out=held_out, share=0.5, progress=lambda _: None)
    assert 16 <= read <= 64


def test_what_a_small_corpus_fills_is_counted_in_whole_contexts(tokenizer: Any) -> None:
    train, held_out = _arrays(10, 10)
    packed = pack(
        ["w1 " * 40, " \n", ""], tokenizer, train=train, held_out=held_out, share=0.0, progress=lambda _: None
    )
    assert (packed.documents, packed.train, packed.held_out) == (1, 2, 0)  # 41 tokens in contexts of 16


def test_the_split_depends_on_the_text_alone_and_grows_with_the_share() -> None:
    texts = documents(4_000, 5)
    small = {text for text in texts if is_held_out(text, 0.05)}
    large = {text for text in texts if is_held_out(text, 0.3)}
    assert small < large
    assert abs(len(small) / 4_000 - 0.05) < 0.015
    assert abs(len(large) / 4_000 - 0.3) < 0.03


@pytest.mark.parametrize(
    ("tokens", "eval_tokens", "share"), [(1_000_000, 1_000, 0.05), (180_000, 20_000, 0.2), (1_000, 9_000, 0.5)]
)
def test_the_held_out_share_is_twice_the_need_within_bounds(tokens: int, eval_tokens: int, share: float) -> None:
    assert held_out_share(tokens, eval_tokens) == pytest.approx(share)
