"""The optimizers: torch's, with state that has names, and moments that can be forgotten by latent."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from prolu.models import Sae, build_sae
from prolu.spec.sae import GatedSae, ProluSae, SaeSpec
from prolu.spec.training import AdamSpec, AdamWSpec, MuonSpec, OptimizerSpec, RAdamSpec
from prolu.training.optimizer import Optimizer

SPECS = [
    AdamSpec(learning_rate=0.01, beta1=0.8, beta2=0.99, epsilon=1e-3),
    AdamWSpec(learning_rate=0.01, beta1=0.7, beta2=0.98, epsilon=2e-3, weight_decay=0.5),
    RAdamSpec(learning_rate=0.01, beta1=0.6, beta2=0.9, epsilon=3e-3),
    MuonSpec(learning_rate=0.01, momentum=0.9),
]
by_kind = pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.kind)

MATRICES, VECTORS = ("W_enc", "W_dec"), ("b_enc", "b_dec")


def an_sae(spec: SaeSpec | None = None) -> Sae:
    return build_sae(spec or ProluSae(d_sae=6), 4, seed=0)


def give_gradients(sae: Sae, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in sae.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def as_torch_would(sae: Sae, spec: OptimizerSpec) -> list[torch.optim.Optimizer]:
    named = dict(sae.named_parameters())
    matrices, vectors = ([named[name] for name in names] for names in (MATRICES, VECTORS))
    match spec:
        case AdamSpec():
            return [torch.optim.Adam(named.values(), 0.01, (0.8, 0.99), 1e-3)]
        case AdamWSpec():
            return [
                torch.optim.AdamW(matrices, 0.01, (0.7, 0.98), 2e-3, weight_decay=0.5),
                torch.optim.AdamW(vectors, 0.01, (0.7, 0.98), 2e-3, weight_decay=0),
            ]
        case RAdamSpec():
            return [torch.optim.RAdam(named.values(), 0.01, (0.6, 0.9), 3e-3)]
        case MuonSpec():
            muon = torch.optim.Muon(matrices, 0.01, 0, momentum=0.9, adjust_lr_fn="match_rms_adamw")
            return [muon, torch.optim.Adam(vectors, 0.01)]


@by_kind
def test_steps_are_those_of_torchs_optimizer_as_it_comes(spec: OptimizerSpec) -> None:
    ours, theirs = an_sae(), an_sae()
    optimizer, plain = Optimizer(ours, spec), as_torch_would(theirs, spec)
    for step in range(8):
        give_gradients(ours, step)
        give_gradients(theirs, step)
        optimizer.step(0.01)
        for other in plain:
            other.step()
    torch.testing.assert_close(dict(ours.state_dict()), dict(theirs.state_dict()))


@by_kind
def test_the_state_is_laid_out_before_the_first_step_and_stays_the_same_tensors(spec: OptimizerSpec) -> None:
    sae = an_sae()
    optimizer = Optimizer(sae, spec)
    before = optimizer.tensors()
    assert all(not tensor.any() for tensor in before.values())
    give_gradients(sae, 0)
    optimizer.step(0.01)
    after = optimizer.tensors()
    assert after.keys() == before.keys()
    assert all(after[name] is before[name] for name in before)
    assert all(tensor.any() for tensor in after.values())


def test_the_state_has_names(make_optimizer: Callable[[OptimizerSpec], Optimizer]) -> None:
    assert {name for name in make_optimizer(AdamSpec()).tensors() if "W_enc" in name} == {
        "optimizer.step.W_enc",
        "optimizer.exp_avg.W_enc",
        "optimizer.exp_avg_sq.W_enc",
    }
    assert {name for name in make_optimizer(MuonSpec()).tensors() if "W_" in name} == {
        "optimizer.momentum_buffer.W_enc",
        "optimizer.momentum_buffer.W_dec",
    }


@pytest.fixture
def make_optimizer() -> Callable[[OptimizerSpec], Optimizer]:
    """A function that makes an optimizer of a small autoencoder."""
    return lambda spec: Optimizer(an_sae(), spec)


@by_kind
@pytest.mark.parametrize(
    "sae_spec", [ProluSae(d_sae=6), GatedSae(d_sae=6), ProluSae(d_sae=4)], ids=["", "gated", "square"]
)
def test_forgetting_latents_resets_their_moments_and_no_others(spec: OptimizerSpec, sae_spec: SaeSpec) -> None:
    sae = an_sae(sae_spec)
    optimizer = Optimizer(sae, spec)
    for step in range(3):
        give_gradients(sae, step)
        optimizer.step(0.01)
    before = {name: tensor.clone() for name, tensor in optimizer.tensors().items()}
    optimizer.forget(torch.tensor([1, 3]))
    forgotten: dict[str, Any] = {"W_enc": (slice(None), [1, 3]), "W_dec": [1, 3]}
    for name, tensor in optimizer.tensors().items():
        parameter = name.split(".")[2]
        if tensor.ndim and parameter != "b_dec":
            index = forgotten.get(parameter, [1, 3])
            assert before[name][index].all()
            before[name][index] = 0
        assert torch.equal(tensor, before[name]), name


def test_weight_decay_is_for_the_matrices_alone() -> None:
    sae = an_sae()
    with torch.no_grad():
        sae.b_enc.fill_(1)
        sae.b_dec.fill_(1)
    before = {name: tensor.clone() for name, tensor in sae.state_dict().items()}
    optimizer = Optimizer(sae, AdamWSpec(weight_decay=0.1))
    for parameter in sae.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step(0.5)
    for name in MATRICES:
        torch.testing.assert_close(sae.state_dict()[name], before[name] * (1 - 0.5 * 0.1))
    for name in VECTORS:
        assert torch.equal(sae.state_dict()[name], before[name])


def test_muons_steps_on_matrices_are_as_large_as_adams() -> None:
    sae = build_sae(ProluSae(d_sae=64), 32, seed=0)
    before = sae.W_enc.detach().clone()
    optimizer = Optimizer(sae, MuonSpec())
    give_gradients(sae, 0)
    optimizer.step(0.01)
    moved = (sae.W_enc.detach() - before).square().mean().sqrt().item()
    assert moved == pytest.approx(0.2 * 0.01, rel=0.3)  # Adam's are 0.2 to 0.4 of the rate (Liu 2025, section 2.2)
