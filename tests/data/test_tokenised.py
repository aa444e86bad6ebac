"""Contexts in the cache: exactly as many activations as asked for, shared by what reads the same text."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prolu.data.cache_entry import Split
from prolu.data.contexts import UNUSED, token_ids
from prolu.data.corpora import open_corpus
from prolu.data.model_files import find_model
from prolu.data.places import DataError, Interrupted, Places
from prolu.data.tokenised import Contexts, open_contexts
from prolu.spec import LanguageModelData, TextCorpus
from prolu.spec.report import Progress


def _open(
    places: Places, piece_tokens: int = 64, should_stop: Any = lambda: False, heard: Any = None, **fields: Any
) -> dict[Split, Contexts]:
    defaults: dict[str, Any] = {"model": "gpt2", "block": 1, "corpus": TextCorpus(path="texts"), "context_length": 16}
    spec = LanguageModelData(**(defaults | {"tokens": 600, "eval_tokens": 100, "held_out_share": 0.3} | fields))
    files = find_model(spec, places, waiting=lambda: None, should_stop=lambda: False)
    return open_contexts(
        spec,
        files,
        open_corpus(spec.corpus, places),
        places,
        notify=[].append if heard is None else heard.append,
        should_stop=should_stop,
        piece_tokens=piece_tokens,
    )


def _all(contexts: Contexts) -> np.ndarray:
    return contexts.take(np.arange(len(contexts)))


@pytest.mark.parametrize("packing", ["concatenate", "document"])
@pytest.mark.parametrize("special_tokens", ["keep", "drop"])
@pytest.mark.parametrize("prepend_bos", [False, True])
@pytest.mark.parametrize("skip_positions", [0, 3])
def test_contexts_keep_exactly_the_activations_asked_for(
    places: Places, packing: str, special_tokens: str, prepend_bos: bool, skip_positions: int
) -> None:
    opened = _open(
        places,
        packing=packing,
        special_tokens=special_tokens,
        prepend_bos=prepend_bos,
        skip_positions=skip_positions,
    )
    for split, wanted in (("train", 600), ("held_out", 100)):
        codes = _all(opened[split])
        assert (codes >= 0).sum() == opened[split].rows.sum() == wanted
        assert np.array_equal((codes >= 0).sum(axis=1), opened[split].rows)
        assert opened[split].rows.min() >= 1
        ids = token_ids(codes)
        assert not (codes[:, :skip_positions] >= 0).any()
        assert (ids[:, 0] == 1).all() or not prepend_bos
        if special_tokens == "drop":
            assert not np.isin(ids[codes >= 0], [0, 1]).any()
        assert (codes == UNUSED).any() == (packing == "document")


def test_pieces_are_read_as_one(places: Places, tmp_path: Path) -> None:
    pieces = _open(places)["train"]
    assert len(list(places.cache_dir.rglob("train-*.npy"))) > 5
    whole = _open(Places(tmp_path / "other", places.data_roots, hub_online=False), piece_tokens=10**6)["train"]
    assert np.array_equal(_all(pieces), _all(whole))
    order = np.random.default_rng(0).permutation(len(whole))
    assert np.array_equal(pieces.take(order), _all(whole)[order])


def test_specs_that_read_the_same_text_share_their_contexts(places: Places) -> None:
    _open(places)
    for fields in ({"block": 0}, {"hook": "mlp_out"}, {"dtype": "float16"}, {"mode": "streaming"}, {"seed": 4}):
        heard: list[Progress] = []
        _open(places, heard=heard, **fields)
        assert heard == []
    assert len(list((places.cache_dir / "contexts").glob("*/manifest.json"))) == 1


def test_a_damaged_piece_is_tokenised_again(places: Places) -> None:
    before = _all(_open(places)["train"])
    victim = sorted(places.cache_dir.rglob("train-*.npy"))[2]
    victim.write_bytes(victim.read_bytes()[:-4])
    assert np.array_equal(_all(_open(places)["train"]), before)


def test_a_wish_to_stop_is_heard_while_reading(places: Places) -> None:
    with pytest.raises(Interrupted):
        _open(places, should_stop=lambda: True)
    assert not list((places.cache_dir / "contexts").glob("*/manifest.json"))
    assert _open(places)["train"].rows.sum() == 600


def test_a_tokenizer_without_the_token_that_begins_a_sequence_is_named(places: Places) -> None:
    with pytest.raises(DataError, match=r"data\.prepend_bos is true, but the tokenizer of llama has no beginning"):
        _open(places, model="llama", prepend_bos=True)


def test_a_tokenizer_with_more_tokens_than_the_model_is_named(places: Places, tmp_path: Path) -> None:
    _open(places)
    [manifest] = (places.cache_dir / "contexts").glob("*/manifest.json")
    content = json.loads(manifest.read_text())
    assert content["facts"] == {"largest_id": 63}
    content["facts"]["largest_id"] = 64
    manifest.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"which knows 64 token ids, but its tokenizer gave 64"):
        _open(places)
