"""Splicing: what a reconstruction does to the predictions, held against whole forward passes made by hand."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM

from prolu.data.activations import open_language_model
from prolu.data.contexts import UNUSED, token_ids
from prolu.data.hooks import find_hook
from prolu.data.language_model import LanguageModel
from prolu.data.places import DataError, Interrupted, Places
from prolu.data.resuming import ResumableModel, passed_through
from prolu.data.splicing import SplicedModel
from prolu.spec import LanguageModelData, TextCorpus
from prolu.spec.data import Hook
from prolu.spec.report import Progress

HOOKS: list[Hook] = ["resid_pre", "attn_out", "mlp_hidden", "mlp_out", "resid_post"]
SCATTERED: dict[str, Any] = {"packing": "document", "special_tokens": "drop", "skip_positions": 2, "prepend_bos": True}


def _open(
    places: Places, notify: Any = lambda _: None, should_stop: Any = lambda: False, **fields: Any
) -> SplicedModel | None:
    defaults: dict[str, Any] = {
        "model": "gpt2",
        "block": 1,
        "corpus": TextCorpus(path="texts"),
        "normalisation": "none",
        "context_length": 16,
        "tokens": 20,
        "eval_tokens": 700,
        "held_out_share": 0.5,
        "ce_tokens": 600,
    }
    source = open_language_model(
        LanguageModelData(**(defaults | fields)), places, notify=notify, should_stop=should_stop
    )
    spliced = source.spliced
    assert spliced is None or isinstance(spliced, SplicedModel)
    return spliced


def _spliced(places: Places, **fields: Any) -> SplicedModel:
    spliced = _open(places, **fields)
    assert spliced is not None
    return spliced


def _halve_and_shift(x: torch.Tensor) -> torch.Tensor:
    return 0.5 * x + torch.linspace(-0.1, 0.1, x.shape[1])


def _by_hand(folder: Path, spliced: SplicedModel, hook: Hook, block: int, reconstruct: Any) -> tuple[float, float, int]:
    """Cross-entropy of a whole spliced forward pass, KL from a whole clean one, and the positions counted."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    cross_entropy, divergence, count = 0.0, 0.0, 0
    for codes in (context[None] for group in spliced._contexts for context in group):
        used = int((codes != UNUSED).sum())
        ids, kept = torch.from_numpy(token_ids(codes))[:, :used], torch.from_numpy(codes >= 0)[0, :used]

        def replace(value: torch.Tensor, kept: torch.Tensor = kept) -> torch.Tensor:
            changed = value.reshape(len(kept), -1).clone()
            for position in range(len(kept)):
                if kept[position]:
                    changed[position] = reconstruct(changed[position : position + 1])[0]
            return changed.reshape(value.shape)

        with torch.inference_mode(), ExitStack() as stack:
            clean = model(input_ids=ids, use_cache=False).logits[0].log_softmax(-1)
            stack.enter_context(find_hook(model, hook, block).tapped(replace))
            logits = model(input_ids=ids, use_cache=False).logits[0].log_softmax(-1)
        for position in range(used - 1):
            if kept[position]:
                cross_entropy -= logits[position, ids[0, position + 1]].item()
                divergence += (clean[position].exp() * (clean[position] - logits[position])).sum().item()
                count += 1
    return cross_entropy / count, divergence / count, count


@pytest.mark.parametrize("hook", HOOKS)
def test_losses_are_those_of_whole_forward_passes_made_by_hand(places: Places, tiny_models: Path, hook: Hook) -> None:
    spliced = _spliced(places, hook=hook, **(SCATTERED | {"eval_tokens": 100, "ce_tokens": 50}))
    losses = spliced.losses(_halve_and_shift)
    by_hand = {
        name: _by_hand(tiny_models / "gpt2", spliced, hook, 1, reconstruct)
        for name, reconstruct in (("sae", _halve_and_shift), ("zero", torch.zeros_like), ("clean", torch.clone))
    }
    assert losses.ce_sae == pytest.approx(by_hand["sae"][0], abs=1e-5)
    assert losses.kl == pytest.approx(by_hand["sae"][1], abs=1e-5)
    assert losses.ce_zero_ablation == pytest.approx(by_hand["zero"][0], abs=1e-5)
    assert losses.ce_clean == pytest.approx(by_hand["clean"][0], abs=1e-5)
    assert losses.tokens == by_hand["sae"][2]


@pytest.mark.parametrize(
    ("kind", "hook", "block"),
    [
        ("gpt2", "resid_pre", 0),
        ("gpt2", "resid_post", 2),
        ("llama", "resid_pre", 1),
        ("gpt_neox", "attn_out", 0),
        ("gptj", "resid_post", 1),  # its blocks return tuples
        ("opt", "mlp_hidden", 1),  # its MLP sees (contexts * positions, width)
        ("gemma2", "mlp_out", 2),  # it caps its logits
    ],
)
def test_the_identity_changes_nothing_and_zeros_are_the_ablation(
    places: Places, kind: str, hook: Hook, block: int
) -> None:
    spliced = _spliced(places, model=kind, hook=hook, block=block, eval_tokens=100, ce_tokens=100)
    same = spliced.losses(lambda x: x)
    assert same.ce_sae == pytest.approx(same.ce_clean, abs=1e-6)
    assert same.kl == pytest.approx(0, abs=1e-6)
    zero = spliced.losses(torch.zeros_like)
    assert zero.ce_sae == pytest.approx(zero.ce_zero_ablation, abs=1e-6)
    assert zero.kl > 1e-6


def test_a_reconstruction_sees_the_raw_activations_of_the_kept_positions_in_order(places: Places) -> None:
    fields = SCATTERED | {"eval_tokens": 200, "ce_tokens": 200}
    seen: list[torch.Tensor] = []

    def look(x: torch.Tensor) -> torch.Tensor:
        seen.append(x.clone())
        return x

    _spliced(places, **fields).losses(look)
    source = open_language_model(
        LanguageModelData(
            model="gpt2",
            block=1,
            corpus=TextCorpus(path="texts"),
            normalisation="none",
            context_length=16,
            tokens=20,
            held_out_share=0.5,
            **fields,
        ),
        places,
        notify=lambda _: None,
        should_stop=lambda: False,
    )
    torch.testing.assert_close(torch.cat(seen), torch.cat(list(source.evaluation(64))), atol=1e-5, rtol=0)


def test_ce_tokens_are_whole_contexts_or_all_that_are_held_out(places: Places) -> None:
    assert (
        _spliced(places, ce_tokens=1).losses(lambda x: x).tokens == 15
    )  # 16 positions, of which the last predicts nothing
    assert _spliced(places, ce_tokens=16).losses(lambda x: x).tokens == 15
    assert _spliced(places, ce_tokens=17).losses(lambda x: x).tokens == 30
    assert _spliced(places, ce_tokens=10_000, eval_tokens=64).losses(lambda x: x).tokens == 60
    assert _open(places, ce_tokens=0) is None


def test_what_every_autoencoder_shares_is_worked_out_once(places: Places) -> None:
    first = _spliced(places, ce_tokens=100).losses(_halve_and_shift)
    heard: list[Progress] = []
    again = _open(places, heard.append, ce_tokens=100, seed=3, mode="streaming", dtype="bfloat16")
    assert not [progress for progress in heard if progress.phase == "evaluating"]
    assert again is not None
    assert again.losses(_halve_and_shift) == first
    assert len(list((places.cache_dir / "spliced").glob("*/manifest.json"))) == 1
    _spliced(places, ce_tokens=200)
    assert len(list((places.cache_dir / "spliced").glob("*/manifest.json"))) == 2


def test_a_damaged_record_is_worked_out_again(places: Places) -> None:
    first = _spliced(places, ce_tokens=100).losses(_halve_and_shift)
    victim = next((places.cache_dir / "spliced").rglob("*.npy"))
    victim.write_bytes(victim.read_bytes()[:-4])
    assert _spliced(places, ce_tokens=100).losses(_halve_and_shift) == first


def test_progress_is_told_and_a_wish_to_stop_is_heard(places: Places) -> None:
    heard: list[Progress] = []
    stop = False
    spliced = _open(places, heard.append, lambda: stop, eval_tokens=1_100, ce_tokens=1_100, context_length=32)
    assert spliced is not None
    heard.clear()
    losses = spliced.losses(lambda x: x)
    assert {progress.phase for progress in heard} == {"evaluating"}
    assert [progress.done for progress in heard] == sorted(progress.done for progress in heard)
    assert (heard[-1].done, heard[-1].total) == (losses.tokens, losses.tokens)
    stop = True
    with pytest.raises(Interrupted):
        spliced.losses(lambda x: x)
    with pytest.raises(Interrupted):
        _open(places, should_stop=lambda: stop, ce_tokens=500)


def test_held_out_text_that_predicts_nothing_is_named(places: Places) -> None:
    with pytest.raises(DataError, match=r"data\.ce_tokens is 600, but no held-out context goes on after"):
        _open(places, context_length=2, skip_positions=1, eval_tokens=10)


@pytest.mark.parametrize("kind", ["gptj", "llama"], ids=["tuples", "tensors"])
def test_blocks_compute_again_once_a_pass_has_been_taken_up(tiny_models: Path, kind: str) -> None:
    weights = AutoModelForCausalLM.from_pretrained(tiny_models / kind).eval()
    model = ResumableModel(LanguageModel(weights, hook="resid_post", block=1))
    tokens = torch.arange(10).reshape(2, 5)
    ran: list[int] = []
    for number, block in enumerate(model._model.blocks):
        block.mlp.register_forward_hook(lambda *_, number=number: ran.append(number))
    with torch.no_grad():
        logits, residual, head = model.clean(tokens)
        assert ran == [0, 1, 2]
        assert torch.equal(model.resumed(tokens, residual), logits)
        assert ran == [0, 1, 2, 2]
        assert torch.equal(model.predicted(tokens, head), logits)
        assert ran == [0, 1, 2, 2]
        with pytest.raises(ZeroDivisionError), passed_through(model._model.blocks, [None] * 3, None):
            raise ZeroDivisionError
        assert torch.equal(model.clean(tokens)[0], logits)


def test_a_model_whose_blocks_hand_on_more_than_the_residual_stream_is_refused(tiny_models: Path) -> None:
    weights = AutoModelForCausalLM.from_pretrained(tiny_models / "llama").eval()

    class Remembering(nn.Module):
        """A block that adds what an earlier one left for it."""

        left: torch.Tensor | None = None

        def __init__(self, block: nn.Module, *, gives: bool) -> None:
            super().__init__()
            self.block = block
            self.gives = gives

        def forward(self, states: torch.Tensor, **kwargs: Any) -> torch.Tensor:
            if self.gives:
                Remembering.left = states.mean() + 1
            kept, Remembering.left = Remembering.left, None if not self.gives else Remembering.left
            return self.block(states, **kwargs) + (0 if kept is None or self.gives else kept)

    layers = weights.model.layers
    layers[0], layers[2] = Remembering(layers[0], gives=True), Remembering(layers[2], gives=False)
    with pytest.raises(DataError, match="the blocks of a LlamaForCausalLM hand on more than the residual stream"):
        ResumableModel(LanguageModel(weights, hook="resid_post", block=1))
