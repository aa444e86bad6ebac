"""Penalties and reconstruction loss are their docstrings' formulas."""

import math

import pytest
import torch

from prolu.models.penalties import l1, penalty_of, sqrt_l1
from prolu.models.reconstruction import reconstruction_loss
from prolu.spec.sparsity import L1, SqrtL1

ACTS = torch.tensor([[1.0, 0.0, 4.0], [0.0, 9.0, 0.0]])


def test_l1_is_the_mean_over_the_batch_of_the_sum_of_acts() -> None:
    assert l1(ACTS).item() == pytest.approx((5 + 9) / 2)


def test_sqrt_l1_is_the_mean_over_the_batch_of_the_sum_of_roots() -> None:
    roots = [math.sqrt(value + 1e-6) for value in ACTS.flatten().tolist()]
    assert sqrt_l1(ACTS, 1e-6).item() == pytest.approx(sum(roots) / 2)


def test_sqrt_l1_has_a_finite_gradient_where_nothing_fires() -> None:
    acts = torch.zeros(2, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(sqrt_l1(acts, 1e-6), acts)
    torch.testing.assert_close(gradient, torch.full((2, 3), 0.5 / math.sqrt(1e-6) / 2))


def test_a_spec_names_its_penalty() -> None:
    assert penalty_of(L1(coefficient=2.0))(ACTS) == l1(ACTS)
    assert penalty_of(SqrtL1(coefficient=2.0, epsilon=0.25))(ACTS) == sqrt_l1(ACTS, 0.25)


def test_reconstruction_loss_averages_or_sums_over_d_in() -> None:
    x_hat, x = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[0.0, 0.0], [0.0, 3.0]])
    assert reconstruction_loss(x_hat, x, over="mean").item() == pytest.approx((1 + 4 + 9) / 4)
    assert reconstruction_loss(x_hat, x, over="sum").item() == pytest.approx((1 + 4 + 9) / 2)
