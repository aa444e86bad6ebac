"""The gated autoencoder by hand: what each path decides, and which gradients the auxiliary term may carry."""

import math

import pytest
import torch

from prolu.models.objective import Terms, objective
from prolu.models.sae import Sae, sae_of
from prolu.spec.sae import GatedSae
from prolu.spec.sparsity import L1, L1DecoderNorm

X = torch.tensor([[3.0, 1.0]])


@pytest.fixture
def sae() -> Sae:
    """m = x; gates open above 2 and above 0; magnitudes 2 m - 1 and m + 0.5; x_hat = acts."""
    sae = sae_of(GatedSae(d_sae=2, auxiliary_coefficient=0.25), 2)
    with torch.no_grad():
        sae.W_enc.copy_(torch.eye(2))
        sae.W_dec.copy_(torch.eye(2))
        sae.b_gate.copy_(torch.tensor([-2.0, 0.0]))
        sae.r_mag.copy_(torch.tensor([math.log(2.0), 0.0]))
        sae.b_mag.copy_(torch.tensor([-1.0, 0.5]))
    return sae


def terms_of(sae: Sae, sparsity: L1 | L1DecoderNorm | None = None) -> Terms:
    return objective(sae, X, sparsity=sparsity or L1(coefficient=1.0), over="sum", dead=None)


def test_the_gate_decides_who_fires_and_the_magnitude_how_strongly(sae: Sae) -> None:
    x = torch.tensor([[3.0, 1.0], [2.0, 1.0], [3.0, -0.25]])
    torch.testing.assert_close(sae.encode(x), torch.tensor([[5.0, 1.5], [0.0, 1.5], [5.0, 0.0]]))


def test_the_gates_pay_the_penalty_and_reconstruct_x_by_themselves(sae: Sae) -> None:
    terms = terms_of(sae)
    # pi_gate = (1, 1): penalty 2, and x - relu(pi_gate) = (2, 0); acts = (5, 1.5): x - acts = (-2, -0.5)
    assert terms.penalty.item() == 2
    assert terms.auxiliary.item() == 0.25 * 4
    assert terms.reconstruction.item() == pytest.approx(4.25)


def test_the_auxiliary_term_leaves_the_decoder_and_the_magnitudes_alone(sae: Sae) -> None:
    terms_of(sae).auxiliary.backward()
    assert {name for name, parameter in sae.named_parameters() if parameter.grad is not None} == {
        "W_enc",
        "b_gate",
        "b_dec",  # by way of the encoder, which centres x with it
    }
    # e = relu(pi_gate) - x = (-2, 0), so m_0 gets 0.25 * 2 * (-2) = -1, and b_dec its negative
    assert sae.b_gate.grad is not None
    assert sae.b_dec.grad is not None
    assert sae.b_gate.grad.tolist() == [-1, 0]
    assert sae.b_dec.grad.tolist() == [1, 0]


def test_the_reconstruction_does_not_reach_the_gate(sae: Sae) -> None:
    terms_of(sae).reconstruction.backward()
    assert sae.b_gate.grad is None
    assert sae.r_mag.grad is not None
    assert sae.r_mag.grad.any()


def test_a_penalty_with_decoder_norms_leaves_the_decoder_alone(sae: Sae) -> None:
    terms_of(sae, L1DecoderNorm(coefficient=1.0)).penalty.backward()
    assert sae.W_dec.grad is None
    assert sae.b_gate.grad is not None
