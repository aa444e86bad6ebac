"""The one autograd Function of acts = f(m, b): a nonlinearity forward, and backward the rule of an estimator.

Knows no estimator. The gradient for b is a sum over the batch: it is accumulated in float32 at least, and returned in the
dtype of b. A gradient of the gradient is refused: a synthetic gradient has none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

Nonlinearity = Callable[[Tensor, Tensor], Tensor]


@runtime_checkable
class GradientRule(Protocol):
    """How the gradient g that reaches acts goes on to m and b, and what it needs for that."""

    @property
    def is_zero_off_gate(self) -> bool:
        """Whether the gradient of a latent that did not fire is exactly zero, for m and in the sum for b, whatever g."""

    def keep(self, m: Tensor, b: Tensor, acts: Tensor) -> tuple[Tensor, ...]:
        """Return what the backward pass needs, acts first; acts are free, since the decoder keeps them anyway."""

    def gradients(self, g: Tensor, kept: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Return the gradients for m (batch, d_sae), a new tensor, and for b (d_sae,), at least float32."""


@dataclass(frozen=True)
class Activation:
    """The differentiable function (m, b) -> acts: `nonlinearity` forward, `rule` backward."""

    nonlinearity: Nonlinearity
    rule: GradientRule

    def __call__(self, m: Float[Tensor, "batch d_sae"], b: Float[Tensor, " d_sae"]) -> Float[Tensor, "batch d_sae"]:
        """Return acts, in the dtype of m."""
        acts: Tensor = _Activation.apply(m, b, self.nonlinearity, self.rule)
        return acts


def batch_sum(values: Float[Tensor, "batch d_sae"]) -> Float[Tensor, " d_sae"]:
    """Return the sum over the batch, accumulated and returned in float32 at least."""
    return values.sum(dim=0, dtype=at_least_float32(values.dtype))


def at_least_float32(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype in which values of `dtype` are summed."""
    return torch.promote_types(dtype, torch.float32)


class _Activation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, m: Tensor, b: Tensor, nonlinearity: Nonlinearity, rule: GradientRule) -> Tensor:
        acts = nonlinearity(m, b)
        ctx.rule, ctx.b_dtype = rule, b.dtype
        ctx.save_for_backward(*rule.keep(m, b, acts))
        return acts

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor, None, None]:
        for_m, for_b = ctx.rule.gradients(g, ctx.saved_tensors)
        return for_m.to(g.dtype), for_b.to(ctx.b_dtype), None, None
