"""The JumpReLU autoencoder by hand: what each term teaches the encoder and the thresholds."""

import pytest
import torch

from prolu.models.objective import Terms, objective
from prolu.models.sae import Sae, sae_of
from prolu.spec.sae import JumpReluSae
from prolu.spec.sparsity import L0, L1, SparsitySpec

X = torch.tensor([[3.0, 1.0], [1.25, -2.0]])


@pytest.fixture
def sae() -> Sae:
    """z = x, x_hat = acts; theta = (1, 2) with a kernel of width 1."""
    sae = sae_of(JumpReluSae(d_sae=2, bandwidth=1.0), 2)
    with torch.no_grad():
        sae.W_enc.copy_(torch.eye(2))
        sae.W_dec.copy_(torch.eye(2))
        dict(sae.named_parameters())["threshold"].copy_(torch.tensor([1.0, 2.0]))
    return sae


def terms_of(sae: Sae, sparsity: SparsitySpec) -> Terms:
    return objective(sae, X, sparsity=sparsity, over="sum", dead=None)


def gradients(sae: Sae) -> dict[str, list[float]]:
    return {name: p.grad.tolist() for name, p in sae.named_parameters() if p.grad is not None and p.grad.any()}


def test_thresholds_start_where_the_spec_says_in_float32() -> None:
    threshold = sae_of(JumpReluSae(d_sae=2, initial_threshold=0.25), 2).threshold
    assert isinstance(threshold, torch.nn.Parameter)
    assert threshold.tolist() == [0.25, 0.25]
    assert threshold.dtype == torch.float32


def test_only_what_exceeds_its_threshold_fires_and_keeps_its_size(sae: Sae) -> None:
    assert sae.encode(X).tolist() == [[3, 0], [1.25, 0]]


def test_the_l0_penalty_counts_pre_activations_and_moves_thresholds_alone(sae: Sae) -> None:
    penalty = terms_of(sae, L0(coefficient=1.0)).penalty
    assert penalty.item() == 1
    penalty.backward()
    # of the four z only 1.25 lies within 1/2 of its theta: -(1 / eps) K / batch
    assert gradients(sae) == {"threshold": [-0.5, 0]}


def test_the_reconstruction_moves_thresholds_by_the_kernel(sae: Sae) -> None:
    terms_of(sae, L0(coefficient=1.0)).reconstruction.backward()
    # x_hat - x = (0, -1), (0, 2); latent 0, which is within the kernel, makes no error
    assert "threshold" not in gradients(sae)
    sae.zero_grad()
    with torch.no_grad():
        sae.W_dec[0, 0] = 2.0  # error of token 1 is 2.5 - 1.25, twice that is the gradient of x_hat, twice that of acts
    terms_of(sae, L0(coefficient=1.0)).reconstruction.backward()
    assert gradients(sae)["threshold"] == [-1.0 * (2 * 1.25 * 2) / 2, 0]


def test_an_l1_penalty_reaches_encoder_and_thresholds_through_the_acts(sae: Sae) -> None:
    terms_of(sae, L1(coefficient=1.0)).penalty.backward()
    found = gradients(sae)
    assert found["threshold"] == [-0.5, 0]
    assert found["b_enc"] == [1, 0]


def test_a_threshold_below_zero_gates_as_zero_does(sae: Sae) -> None:
    with torch.no_grad():
        dict(sae.named_parameters())["threshold"].fill_(-1.0)
    assert sae.gate_bias.tolist() == [0, 0]
    assert sae.encode(torch.tensor([[-0.5, 0.5]])).tolist() == [[0, 0.5]]
