"""The kernels k(z) that stand for the derivative of the step T(z) = 1[z > 0] in a surrogate gradient.

Each is finite everywhere, infinities included, and keeps the shape and dtype of z. Where z is NaN, k(z) is not zero.
`prolu.spec.estimators` names them, with their sources.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from prolu.models.nonlinearity import keep_where_positive, keep_where_within
from prolu.spec.estimators import (
    Clamp01Kernel,
    Clamp11Kernel,
    ExpKernel,
    GaussianKernel,
    HeavisideKernel,
    IdentityKernel,
    Kernel,
    RectangleKernel,
    SigmoidKernel,
    TriangleKernel,
    UnitKernel,
)

KernelFunction = Callable[[Tensor], Tensor]


def kernel_of(spec: Kernel) -> KernelFunction:
    """Return the function z -> k(z) that `spec` names, element by element."""
    match spec:
        case HeavisideKernel():
            return heaviside
        case UnitKernel():
            return unit
        case RectangleKernel(epsilon=epsilon):
            return partial(rectangle, epsilon=epsilon)
        case Clamp01Kernel():
            return clamp01
        case Clamp11Kernel():
            return clamp11
        case IdentityKernel():
            return identity
        case ExpKernel():
            return exp
        case TriangleKernel(epsilon=epsilon):
            return partial(triangle, epsilon=epsilon)
        case GaussianKernel(epsilon=epsilon):
            return partial(gaussian, epsilon=epsilon)
        case SigmoidKernel(epsilon=epsilon):
            return partial(sigmoid, epsilon=epsilon)


def is_zero_below_zero(spec: Kernel) -> bool:
    """Whether k(z) = 0 for every z <= 0, so that the kernel passes nothing to a latent that did not fire."""
    return isinstance(spec, HeavisideKernel | UnitKernel | Clamp01Kernel)


def heaviside(z: Tensor) -> Tensor:
    """Return 1[z > 0]."""
    return keep_where_positive(z.new_ones(()), z)


def unit(z: Tensor) -> Tensor:
    """Return 1[0 < z < 1]."""
    return keep_where_within(z.new_ones(()), z, low=0.0, high=1.0)


def rectangle(z: Tensor, *, epsilon: float) -> Tensor:
    """Return 1[|z| < epsilon / 2] / epsilon."""
    return keep_where_within(z.new_full((), 1 / epsilon), z, low=-epsilon / 2, high=epsilon / 2)


def clamp01(z: Tensor) -> Tensor:
    """Return min(max(z, 0), 1)."""
    return z.clamp(0, 1)


def clamp11(z: Tensor) -> Tensor:
    """Return min(max(z, -1), 1)."""
    return z.clamp(-1, 1)


def identity(z: Tensor) -> Tensor:
    """Return 1."""
    return torch.ones_like(z)


def exp(z: Tensor) -> Tensor:
    """Return e^min(z, 10)."""
    return z.clamp(max=10).exp_()


def triangle(z: Tensor, *, epsilon: float) -> Tensor:
    """Return max(0, 1 - |z| / epsilon) / epsilon."""
    return z.abs().div_(-epsilon).add_(1).relu_().div_(epsilon)


def gaussian(z: Tensor, *, epsilon: float) -> Tensor:
    """Return exp(-z^2 / (2 epsilon^2)) / (epsilon sqrt(2 pi)), and 0 from 13 epsilon on, where it is below 1e-36 of its peak.

    There the exponential nears the smallest numbers of float32, where a processor is ten times slower.
    """
    u, end = z / epsilon, 13.0
    k = u.clamp(-end, end).square_().mul_(-0.5).exp_().div_(epsilon * math.sqrt(2 * math.pi))
    return keep_where_within(k, u, low=-end, high=end, out=k)


def sigmoid(z: Tensor, *, epsilon: float) -> Tensor:
    """Return s(z / epsilon) (1 - s(z / epsilon)) / epsilon, computed at -|z| (k is even), where 1 - s loses no digits."""
    s = z.abs().div_(-epsilon).sigmoid_()
    return (1 - s).mul_(s).div_(epsilon)
