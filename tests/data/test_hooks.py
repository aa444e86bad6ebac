"""Hooks: the value is the one that the name promises, in every family, and nothing after it runs."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM

from prolu.data.hooks import find_blocks, find_hook, hook_width
from prolu.data.language_model import LanguageModel, check_addends
from prolu.data.places import DataError
from prolu.spec.data import Hook
from tests.data.conftest import CONFIGS

KINDS = sorted(set(CONFIGS) - {"granite"})
TOKENS = torch.randint(0, 64, (3, 10), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def models(tiny_models: Path) -> dict[str, Any]:
    return {kind: AutoModelForCausalLM.from_pretrained(tiny_models / kind) for kind in CONFIGS}


def _read(model: Any, hook: Hook, block: int, tokens: torch.Tensor = TOKENS) -> torch.Tensor:
    return LanguageModel(model, hook=hook, block=block).activations(tokens)


@pytest.mark.parametrize("kind", KINDS)
def test_the_residual_stream_is_what_the_model_itself_calls_hidden_states(models: dict[str, Any], kind: str) -> None:
    model = models[kind]
    with torch.inference_mode():
        states = model(input_ids=TOKENS, use_cache=False, output_hidden_states=True).hidden_states
    for block in range(3):
        assert torch.equal(_read(model, "resid_pre", block), states[block])
    for block in range(2):  # transformers applies the final norm to the last state
        assert torch.equal(_read(model, "resid_post", block), states[block + 1])


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gpt_neox"])
def test_the_last_block_is_read_before_the_final_norm(models: dict[str, Any], kind: str) -> None:
    model = models[kind]
    norm = next(
        module for name, module in model.base_model.named_children() if name in ("norm", "ln_f", "final_layer_norm")
    )
    with torch.inference_mode():
        final = norm(_read(model, "resid_post", 2))
        expected = model(input_ids=TOKENS, output_hidden_states=True).hidden_states[-1]
    torch.testing.assert_close(final, expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("block", [0, 2])
def test_a_block_adds_what_attention_and_mlp_give_to_the_residual_stream(
    models: dict[str, Any], kind: str, block: int
) -> None:
    parts = {hook: _read(models[kind], hook, block) for hook in ("resid_pre", "attn_out", "mlp_out", "resid_post")}
    torch.testing.assert_close(
        parts["resid_pre"] + parts["attn_out"] + parts["mlp_out"], parts["resid_post"], atol=1e-5, rtol=0
    )
    assert parts["attn_out"].abs().max() > 1e-4
    assert parts["mlp_out"].abs().max() > 1e-4


# How to get at the MLP's last matrix by hand.
LAST = {
    "llama": lambda model: model.model.layers[1].mlp.down_proj,
    "mistral": lambda model: model.model.layers[1].mlp.down_proj,
    "qwen2": lambda model: model.model.layers[1].mlp.down_proj,
    "opt": lambda model: model.model.decoder.layers[1].fc2,
    "gptj": lambda model: model.transformer.h[1].mlp.fc_out,
    "gpt2": lambda model: model.transformer.h[1].mlp.c_proj,
    "gpt_neox": lambda model: model.gpt_neox.layers[1].mlp.dense_4h_to_h,
}


@pytest.mark.parametrize("kind", sorted(LAST))
def test_the_last_matrix_makes_of_the_hidden_layer_what_the_mlp_adds(models: dict[str, Any], kind: str) -> None:
    hidden = _read(models[kind], "mlp_hidden", 1)
    assert hidden.shape == (3, 10, hook_width(models[kind], "mlp_hidden", 1))
    with torch.inference_mode():
        made = LAST[kind](models[kind])(hidden)
    torch.testing.assert_close(made, _read(models[kind], "mlp_out", 1), atol=1e-6, rtol=0)


def test_the_hidden_layer_is_recomputed_by_hand(models: dict[str, Any]) -> None:
    layer = models["llama"].model.layers[1]
    with torch.inference_mode():
        x = layer.post_attention_layernorm(
            _read(models["llama"], "resid_pre", 1) + _read(models["llama"], "attn_out", 1)
        )
        hidden = nn.functional.silu(x @ layer.mlp.gate_proj.weight.T) * (x @ layer.mlp.up_proj.weight.T)
    torch.testing.assert_close(_read(models["llama"], "mlp_hidden", 1), hidden, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_what_stands_at_unused_positions_does_not_change_the_others(models: dict[str, Any], kind: str) -> None:
    filled_otherwise = TOKENS.clone()
    filled_otherwise[:, 7:] = (TOKENS[:, 7:] + 13) % 64
    one, other = _read(models[kind], "resid_post", 2), _read(models[kind], "resid_post", 2, filled_otherwise)
    assert torch.equal(one[:, :7], other[:, :7])
    assert not torch.equal(one, other)


@pytest.mark.parametrize(
    ("hook", "ran"),
    [
        ("resid_pre", []),
        ("attn_out", ["self_attn"]),
        ("mlp_hidden", ["self_attn", "act_fn"]),
        ("mlp_out", ["self_attn", "act_fn", "mlp"]),
        ("resid_post", ["self_attn", "act_fn", "mlp"]),
    ],
)
def test_nothing_after_the_hook_runs(tiny_models: Path, hook: Hook, ran: list[str]) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_models / "llama")
    seen: list[str] = []
    for number, block in enumerate(find_blocks(model)):
        for name, module in (("self_attn", block.self_attn), ("act_fn", block.mlp.act_fn), ("mlp", block.mlp)):
            module.register_forward_hook(lambda *_, name=f"{number} {name}": seen.append(name))
    _read(model, hook, 1)
    assert seen == ["0 self_attn", "0 act_fn", "0 mlp", *(f"1 {name}" for name in ran)]


@pytest.mark.parametrize("side", ["input", "output"])
def test_a_tap_replaces_a_value_only_while_it_is_there(models: dict[str, Any], side: str) -> None:
    model = models["llama"]
    point = find_hook(model, "resid_pre" if side == "input" else "resid_post", 1)
    with torch.inference_mode():
        before = model(input_ids=TOKENS).logits
        with point.tapped(lambda value: value * 2):
            changed = model(input_ids=TOKENS).logits
        after = model(input_ids=TOKENS).logits
    assert not torch.allclose(changed, before)
    assert torch.equal(after, before)


def test_a_model_whose_blocks_are_no_plain_sums_is_refused_for_the_addends(models: dict[str, Any]) -> None:
    for hook in ("attn_out", "mlp_out"):
        with pytest.raises(
            DataError, match=rf"data\.hook is {hook}, but block 1 of this GraniteForCausalLM is not the sum"
        ):
            check_addends(LanguageModel(models["granite"], hook=hook, block=1))


@pytest.mark.parametrize("kind", KINDS)
def test_models_of_the_common_families_are_sums(models: dict[str, Any], kind: str) -> None:
    check_addends(LanguageModel(models[kind], hook="attn_out", block=1))


class Config:
    num_hidden_layers = 1
    hidden_size = 4

    def get_text_config(self) -> "Config":
        return self


class Odd(nn.Module):
    """A model with lists and parts of unheard-of names."""

    def __init__(self, lists: int, parts: dict[str, nn.Module]) -> None:
        super().__init__()
        self.config = Config()
        for number in range(lists):
            setattr(self, f"list_{number}", nn.ModuleList([nn.ModuleDict(parts)]))


def test_a_model_without_one_stack_of_blocks_is_refused() -> None:
    with pytest.raises(DataError, match="in which 2 lists could be its 1 blocks"):
        LanguageModel(Odd(2, {}), hook="resid_pre", block=0)


@pytest.mark.parametrize("hook", ["attn_out", "mlp_out", "mlp_hidden"])
def test_a_block_of_unknown_parts_is_refused_with_their_names(hook: Hook) -> None:
    odd = Odd(1, {"mixer": nn.Identity(), "router": nn.Identity()})
    with pytest.raises(
        DataError, match=rf"data\.hook is {hook}, but in block 0 the ModuleDict has the parts mixer, router"
    ):
        find_hook(odd, hook, 0)
    assert find_hook(odd, "resid_post", 0).side == "output"
