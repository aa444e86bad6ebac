"""JumpReLU with a trained threshold, and the L0 that trains it: both through a rectangle kernel of the pre-activation.

z = m + b is the pre-activation, theta the threshold, eps the bandwidth in units of z, K(u) = 1[|u| < 1/2], strict.
Source: Rajamanoharan 2024, arXiv 2407.14435, section 3 and the pseudo-code of its appendix, which passes z through a ReLU
before step and threshold; here it is not, which differs only where theta < eps / 2.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from prolu.models import nonlinearity
from prolu.models.gradients_function import batch_sum
from prolu.models.nonlinearity import keep_where_positive, keep_where_within


def jumprelu(
    z: Float[Tensor, "batch d_sae"], theta: Float[Tensor, " d_sae"], *, bandwidth: float
) -> Float[Tensor, "batch d_sae"]:
    """Return acts = relu(z) * 1[z > theta].

    Gradient for z: g * 1[z > theta] * 1[z > 0]; for theta: the sum over the batch of -(theta / eps) K((z - theta) / eps) * g.
    A negative theta acts as zero in acts, while the gradient stays that formula: it then has the other sign.
    Keeps acts, z and theta: the window of the kernel lies on both sides of the threshold, where acts say nothing.
    """
    acts: Tensor = _JumpRelu.apply(z, theta, bandwidth)
    return acts


def step_l0(z: Float[Tensor, "batch d_sae"], theta: Float[Tensor, " d_sae"], *, bandwidth: float) -> Float[Tensor, ""]:
    """Return the mean over the batch of sum_i 1[z_i > theta_i], in float32 at least: a step of the pre-activation.

    Gradient for theta: the mean over the batch of -(1 / eps) K((z - theta) / eps), times g; none for z.
    Of an empty batch it is 0. Keeps d_sae numbers. Where z or theta is NaN the latent counts as fired; acts show the NaN.
    """
    l0: Tensor = _StepL0.apply(z, theta, bandwidth)
    return l0


class _JumpRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, theta: Tensor, bandwidth: float) -> Tensor:
        acts = nonlinearity.jumprelu(z, theta)
        ctx.bandwidth = bandwidth
        ctx.save_for_backward(acts, z, theta)
        return acts

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor, None]:
        acts, z, theta = ctx.saved_tensors
        in_window = batch_sum(_keep_in_window(g, z - theta, ctx.bandwidth))
        return keep_where_positive(g, acts), (in_window * -(theta / ctx.bandwidth)).to(theta.dtype), None


class _StepL0(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, theta: Tensor, bandwidth: float) -> Tensor:
        above = z - theta
        one = above.new_ones(())
        fired = batch_sum(keep_where_positive(one, above))
        rows = max(len(z), 1)
        ctx.rate = 1 / (bandwidth * rows)
        ctx.theta_dtype = theta.dtype
        ctx.save_for_backward(batch_sum(_keep_in_window(one, above, bandwidth)))
        return fired.sum() / rows

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[None, Tensor, None]:
        (in_window,) = ctx.saved_tensors
        return None, (in_window * g * -ctx.rate).to(ctx.theta_dtype), None


def _keep_in_window(values: Tensor, above: Tensor, bandwidth: float) -> Tensor:
    """Return values * K(above / bandwidth); overwrites `above`, which is z - theta."""
    return keep_where_within(values, above, low=-bandwidth / 2, high=bandwidth / 2, out=above)
