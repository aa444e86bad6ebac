"""Penalties and reconstruction loss are their docstrings' formulas."""

import math

import pytest
import torch

from prolu.models.penalties import l1, l1_decoder_norm, penalty_for, sqrt_l1, tanh
from prolu.models.reconstruction import reconstruction_loss
from prolu.spec.sparsity import L0, L1, L1DecoderNorm, NoPenalty, SparsitySpec, SqrtL1, Tanh

ACTS = torch.tensor([[1.0, 0.0, 4.0], [0.0, 9.0, 0.0]])
W_DEC = torch.tensor([[3.0, 4.0], [1.0, 0.0], [0.0, 2.0]])


def test_l1_is_the_mean_over_the_batch_of_the_sum_of_acts() -> None:
    assert l1(ACTS).item() == pytest.approx((5 + 9) / 2)


def test_sqrt_l1_is_the_mean_over_the_batch_of_the_sum_of_roots() -> None:
    roots = [math.sqrt(value + 1e-6) for value in ACTS.flatten().tolist()]
    assert sqrt_l1(ACTS, 1e-6).item() == pytest.approx(sum(roots) / 2)


def test_sqrt_l1_has_a_finite_gradient_where_nothing_fires() -> None:
    acts = torch.zeros(2, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(sqrt_l1(acts, 1e-6), acts)
    torch.testing.assert_close(gradient, torch.full((2, 3), 0.5 / math.sqrt(1e-6) / 2))


def test_l1_decoder_norm_weighs_each_act_by_its_decoder_row() -> None:
    # rows of norm 5, 1 and 2
    assert l1_decoder_norm(ACTS, W_DEC).item() == pytest.approx((1 * 5 + 4 * 2 + 9 * 1) / 2)


def test_tanh_saturates_for_strong_acts_of_long_rows() -> None:
    expected = [math.tanh(0.5 * 1 * 5), math.tanh(0.5 * 4 * 2), math.tanh(0.5 * 9 * 1)]
    assert tanh(ACTS, W_DEC, 0.5).item() == pytest.approx(sum(expected) / 2)


@pytest.mark.parametrize("spec", [L1DecoderNorm(coefficient=1.0), Tanh(coefficient=1.0, scale=0.1)])
def test_penalties_with_decoder_norms_shorten_the_rows_of_latents_that_fire(spec: SparsitySpec) -> None:
    W_dec = W_DEC.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(penalty_for(spec, torch.tensor([[1.0, 0.0, 2.0]]), W_dec), W_dec)
    assert ((gradient * W_DEC).sum(dim=1) > 0).tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (NoPenalty(), torch.zeros(())),
        (L1(coefficient=2.0), l1(ACTS)),
        (SqrtL1(coefficient=2.0, epsilon=0.25), sqrt_l1(ACTS, 0.25)),
        (L1DecoderNorm(coefficient=2.0), l1_decoder_norm(ACTS, W_DEC)),
        (Tanh(coefficient=2.0, scale=3.0), tanh(ACTS, W_DEC, 3.0)),
    ],
)
def test_a_spec_names_its_penalty_without_its_coefficient(spec: SparsitySpec, expected: torch.Tensor) -> None:
    assert penalty_for(spec, ACTS, W_DEC) == expected


def test_an_l0_penalty_is_refused_where_there_is_no_pre_activation() -> None:
    with pytest.raises(ValueError, match="choose another penalty, or jumprelu"):
        penalty_for(L0(coefficient=1.0), ACTS, W_DEC)


def test_penalties_of_bfloat16_acts_are_summed_in_the_precision_of_the_weights() -> None:
    acts = torch.full((1, 1000), 1.001).to(torch.bfloat16)
    penalty = penalty_for(L1(coefficient=1.0), acts, torch.ones(1000, 2))
    assert penalty.dtype == torch.float32
    assert penalty.item() == pytest.approx(1000 * acts[0, 0].item())


def test_reconstruction_loss_averages_or_sums_over_d_in() -> None:
    x_hat, x = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[0.0, 0.0], [0.0, 3.0]])
    assert reconstruction_loss(x_hat, x, over="mean").item() == pytest.approx((1 + 4 + 9) / 4)
    assert reconstruction_loss(x_hat, x, over="sum").item() == pytest.approx((1 + 4 + 9) / 2)
