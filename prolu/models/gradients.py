"""The gradient of each nonlinearity, true or synthetic: one autograd Function per named estimator.

`g` is the gradient that reaches `acts`, `gate = T(m) * T(m + b)`; gradients for `b` are summed over the batch.

| estimator   | gradient for m       | gradient for b | source             |
| ----------- | -------------------- | -------------- | ------------------ |
| relu, true  | `g * T(m + b)`       | `g * T(m + b)` | calculus           |
| `relu_like` | `g * gate`           | `g * gate`     | ProLU post, ProLU_ReLU |
| `ste`       | `g * gate * (1 + m)` | `g * gate * m` | ProLU post, ProLU_STE  |

All of these are exactly zero where a latent did not fire, and there `acts` says all that is needed: it equals m on the
gate and 0 off it. So only `acts` is kept for the backward pass, and m is freed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from prolu.models.nonlinearity import keep_where_positive, prolu, relu
from prolu.spec.estimators import Estimator, ReluLike, Ste
from prolu.spec.sae import ProluSae, ReluSae, SaeSpec

Activation = Callable[[Tensor, Tensor], Tensor]


def activation_of(spec: SaeSpec) -> Activation:
    """Return the differentiable function (m, b) -> acts that `spec` names."""
    match spec:
        case ReluSae():
            return relu_with_true_gradient
        case ProluSae(estimator=estimator):
            return _prolu_by(estimator)
        case _:
            raise NotImplementedError(spec.kind)


def _prolu_by(estimator: Estimator) -> Activation:
    match estimator:
        case ReluLike():
            return prolu_relu_like
        case Ste():
            return prolu_ste
        case _:
            raise NotImplementedError(estimator.kind)


def relu_with_true_gradient(
    m: Float[Tensor, "batch d_sae"], b: Float[Tensor, " d_sae"]
) -> Float[Tensor, "batch d_sae"]:
    """relu(m + b); gradients g * T(m + b) for m and for b."""
    acts: Tensor = _Relu.apply(m, b)
    return acts


def prolu_relu_like(m: Float[Tensor, "batch d_sae"], b: Float[Tensor, " d_sae"]) -> Float[Tensor, "batch d_sae"]:
    """ProLU(m, b); gradients g * gate for m and for b (ProLU_ReLU of the post)."""
    acts: Tensor = _ProluReluLike.apply(m, b)
    return acts


def prolu_ste(m: Float[Tensor, "batch d_sae"], b: Float[Tensor, " d_sae"]) -> Float[Tensor, "batch d_sae"]:
    """ProLU(m, b); gradients g * gate * (1 + m) for m, g * gate * m for b (ProLU_STE of the post)."""
    acts: Tensor = _ProluSte.apply(m, b)
    return acts


class _Relu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, m: Tensor, b: Tensor) -> Tensor:
        acts = relu(m, b)
        ctx.save_for_backward(acts)
        return acts

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor]:
        (acts,) = ctx.saved_tensors
        gated = keep_where_positive(g, acts)  # g * T(m + b)
        return gated, gated.sum(dim=0)


class _Prolu(torch.autograd.Function):
    """The forward pass that every estimator of ProLU shares."""

    @staticmethod
    def forward(ctx: Any, m: Tensor, b: Tensor) -> Tensor:
        acts = prolu(m, b)
        ctx.save_for_backward(acts)
        return acts


class _ProluReluLike(_Prolu):
    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor]:
        (acts,) = ctx.saved_tensors
        gated = keep_where_positive(g, acts)  # g * gate
        return gated, gated.sum(dim=0)


class _ProluSte(_Prolu):
    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor]:
        (acts,) = ctx.saved_tensors
        for_b = g * acts  # g * gate * m
        for_m = keep_where_positive(g, acts).add_(for_b)  # g * gate * (1 + m)
        return for_m, for_b.sum(dim=0)
