"""Every kind of autoencoder against the naive reference, and what all of them promise the training loop."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from prolu.models.objective import Terms, objective
from prolu.models.reconstruction import Reduction
from prolu.models.sae import Sae
from tests.models.family import DEAD, FAMILY, LAMBDA, Member, inputs
from tests.models.naive import NaiveTerms, naive_encode, naive_terms

PARTS = ("acts", "x_hat", "reconstruction", "penalty", "auxiliary")

every_member = pytest.mark.parametrize("member", FAMILY.values(), ids=FAMILY.keys())


def loss_of(terms: Terms | NaiveTerms) -> Tensor:
    return terms.reconstruction + LAMBDA * terms.penalty + terms.auxiliary


def gradients_of(loss: Tensor, sae: Sae) -> dict[str, Tensor]:
    parameters = dict(sae.named_parameters())
    found = torch.autograd.grad(loss, list(parameters.values()), materialize_grads=True)
    return dict(zip(parameters, found, strict=True))


@every_member
def test_inference_is_the_formula(member: Member) -> None:
    sae, x = member.build(), inputs()
    torch.testing.assert_close(sae.encode(x), naive_encode(sae, x))
    torch.testing.assert_close(sae(x), naive_encode(sae, x) @ sae.W_dec + sae.b_dec)


@pytest.mark.parametrize("over", ["mean", "sum"])
@every_member
def test_training_is_the_formula(member: Member, over: Reduction) -> None:
    sae, x = member.build(), inputs()
    found = objective(sae, x, sparsity=member.sparsity, over=over, dead=DEAD)
    expected = naive_terms(sae, x, member.sparsity, over, DEAD)
    for part in PARTS:
        torch.testing.assert_close(getattr(found, part), getattr(expected, part), msg=lambda text: f"{part}: {text}")  # noqa: B023
    assert expected.reconstruction > 0


@every_member
def test_gradients_are_those_of_the_formula(member: Member) -> None:
    sae, x = member.build(), inputs()
    found = objective(sae, x, sparsity=member.sparsity, over="mean", dead=DEAD)
    expected = naive_terms(sae, x, member.sparsity, "mean", DEAD)
    torch.testing.assert_close(gradients_of(loss_of(found), sae), gradients_of(loss_of(expected), sae))


@every_member
def test_every_parameter_learns(member: Member) -> None:
    sae = member.build()
    terms = objective(sae, inputs(), sparsity=member.sparsity, over="mean", dead=DEAD)
    assert all(gradient.any() for gradient in gradients_of(loss_of(terms), sae).values())


@every_member
def test_a_latent_fires_only_above_its_gate_bias(member: Member) -> None:
    sae, x = member.build(), torch.randn(200, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(8))
    open_gates = sae.pre_acts(x) + sae.gate_bias > 0
    acts = sae.encode(x)
    assert (acts >= 0).all()
    assert not (acts > 0)[~open_gates].any()
    if member.spec.kind in ("relu", "jumprelu", "batch_topk", "matryoshka_batch_topk"):
        assert torch.equal(acts > 0, open_gates)


@every_member
def test_inference_does_not_depend_on_the_rest_of_the_batch(member: Member) -> None:
    sae, x = member.build(), inputs()
    torch.testing.assert_close(sae.encode(x), torch.cat([sae.encode(row.unsqueeze(0)) for row in x]))


@every_member
def test_an_objective_changes_nothing(member: Member) -> None:
    sae = member.build()
    before = {name: tensor.clone() for name, tensor in sae.state_dict().items()}
    objective(sae, inputs(), sparsity=member.sparsity, over="mean", dead=DEAD)
    assert all(torch.equal(tensor, before[name]) for name, tensor in sae.state_dict().items())


@every_member
def test_without_dead_latents_the_terms_are_those_of_none(member: Member) -> None:
    sae, x = member.build(), inputs()
    nobody = objective(sae, x, sparsity=member.sparsity, over="mean", dead=torch.zeros_like(DEAD))
    spared = objective(sae, x, sparsity=member.sparsity, over="mean", dead=None)
    assert torch.equal(loss_of(nobody), loss_of(spared))
    found, expected = gradients_of(loss_of(nobody), sae), gradients_of(loss_of(spared), sae)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.fixture(scope="module")
def differences() -> dict[str, str]:
    """How each compiled objective differs, by kind."""
    command = [sys.executable, "-m", "tests.models.compiled"]
    found = subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=200, check=True
    )
    return dict(json.loads(found.stdout))


@pytest.mark.parametrize("kind", sorted({member.spec.kind for member in FAMILY.values()}))
def test_a_compiled_objective_is_one_graph_and_the_same(kind: str, differences: dict[str, str]) -> None:
    assert differences[kind] == ""


@every_member
def test_under_autocast_the_loss_and_the_gradients_are_float32_and_near(member: Member) -> None:
    sae, x = member.build(torch.float32), inputs(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        found = objective(sae, x, sparsity=member.sparsity, over="mean", dead=DEAD)
    expected = objective(sae, x, sparsity=member.sparsity, over="mean", dead=DEAD)
    assert found.reconstruction.dtype == found.penalty.dtype == found.auxiliary.dtype == torch.float32
    torch.testing.assert_close(loss_of(found), loss_of(expected), rtol=0.05, atol=0.05)
    assert all(gradient.dtype == torch.float32 for gradient in gradients_of(loss_of(found), sae).values())


@pytest.mark.parametrize(
    "member", [m for name, m in FAMILY.items() if name in ("relu", "prolu ste", "prolu relu_like")]
)
def test_a_pointwise_pass_keeps_no_dense_tensor_but_its_acts(member: Member) -> None:
    sae, x, kept = member.build(), inputs(), []

    def keep(tensor: Tensor) -> Tensor:
        if tensor.shape == (len(x), sae.d_sae):
            kept.append(tensor.untyped_storage().data_ptr())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        terms = objective(sae, x, sparsity=member.sparsity, over="mean", dead=DEAD)
    assert set(kept) == {terms.acts.untyped_storage().data_ptr()}


class ReadsOfTheDevice(TorchDispatchMode):
    """Counts operations whose result Python must wait for."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        waits = (torch.ops.aten._local_scalar_dense, torch.ops.aten.nonzero, torch.ops.aten.equal)
        self.count += func.overloadpacket in waits
        return func(*args, **(kwargs or {}))


@every_member
def test_a_training_pass_reads_nothing_back_from_the_device(member: Member) -> None:
    sae, x = member.build(), inputs()
    with ReadsOfTheDevice() as reads:
        terms = objective(sae, x, sparsity=member.sparsity, over="mean", dead=DEAD)
        loss_of(terms).backward()
        sae.after_step(terms.acts.detach())
    assert reads.count == 0


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("member", [m for m in FAMILY.values() if "topk" not in m.spec.kind])
def test_folding_the_decoder_norm_keeps_the_reconstruction(
    member: Member, dtype: torch.dtype, tolerance: float
) -> None:
    sae = member.build(dtype)
    x = torch.randn(100, 3, generator=torch.Generator().manual_seed(8), dtype=dtype)
    norms, x_hat, acts = sae.W_dec.norm(dim=1), sae(x), sae.encode(x)
    sae.fold_decoder_norm()
    torch.testing.assert_close(sae.W_dec.norm(dim=1), torch.ones_like(norms))
    torch.testing.assert_close(sae(x), x_hat, rtol=tolerance, atol=tolerance * x_hat.abs().max().item())
    torch.testing.assert_close(sae.encode(x), acts * norms, rtol=tolerance, atol=tolerance * x_hat.abs().max().item())


def test_folding_leaves_a_decoder_row_of_norm_zero() -> None:
    sae = FAMILY["relu"].build()
    with torch.no_grad():
        sae.W_dec[2] = 0
    x_hat = sae(inputs())
    sae.fold_decoder_norm()
    assert not sae.W_dec[2].any()
    torch.testing.assert_close(sae(inputs()), x_hat)
