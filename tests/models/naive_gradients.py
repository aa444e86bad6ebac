"""Every estimator there is, and its gradients written from the formulas number by number in plain Python floats.

A gate or a kernel that is zero makes its term zero, also beside an infinity.
"""

import math

import torch
from torch import Tensor

from prolu.spec.estimators import (
    Clamp01Kernel,
    Clamp11Kernel,
    Estimator,
    ExpKernel,
    GaussianKernel,
    HeavisideKernel,
    IdentityKernel,
    Interpolated,
    Kernel,
    RectangleKernel,
    ReluLike,
    SigmoidKernel,
    Ste,
    SteBiasOnly,
    SteInputOnly,
    Surrogate,
    TriangleKernel,
    UnitKernel,
)

EPSILON = 0.5
"""Wide and a power of two, so that coarse numbers fall inside, outside and on the very edge of the windows."""

KERNELS: dict[str, Kernel] = {
    "heaviside": HeavisideKernel(),
    "unit": UnitKernel(),
    "rectangle": RectangleKernel(epsilon=EPSILON),
    "clamp01": Clamp01Kernel(),
    "clamp11": Clamp11Kernel(),
    "identity": IdentityKernel(),
    "exp": ExpKernel(),
    "triangle": TriangleKernel(epsilon=EPSILON),
    "gaussian": GaussianKernel(epsilon=EPSILON),
    "sigmoid": SigmoidKernel(epsilon=EPSILON),
}
ESTIMATORS: dict[str, Estimator] = {
    "relu_like": ReluLike(),
    "ste": Ste(),
    "ste_bias_only": SteBiasOnly(),
    "ste_input_only": SteInputOnly(),
    "interpolated": Interpolated(),
    "interpolated anyhow": Interpolated(w_m=0.25, w_b=1.5, w_gate=-2),
    "interpolated to relu_like": Interpolated(w_m=0, w_b=0),
    **{
        f"{name} {form}": Surrogate(kernel=kernel, form=form)
        for name, kernel in KERNELS.items()
        for form in ("gate", "product")
    },
}
ZERO_OFF_GATE = {name for name, estimator in ESTIMATORS.items() if not isinstance(estimator, Surrogate)} | {
    f"{kernel} {form}" for kernel in ("heaviside", "unit", "clamp01") for form in ("gate", "product")
}


def naive_kernel(kernel: Kernel, z: float) -> float:
    """Return k(z) as the docstring of the kernel's spec has it."""
    match kernel:
        case HeavisideKernel():
            return float(z > 0)
        case UnitKernel():
            return float(0 < z < 1)
        case RectangleKernel(epsilon=epsilon):
            return float(abs(z) < epsilon / 2) / epsilon
        case Clamp01Kernel():
            return min(max(z, 0.0), 1.0)
        case Clamp11Kernel():
            return min(max(z, -1.0), 1.0)
        case IdentityKernel():
            return 1.0
        case ExpKernel():
            return math.exp(min(z, 10.0))
        case TriangleKernel(epsilon=epsilon):
            return max(0.0, 1 - abs(z) / epsilon) / epsilon
        case GaussianKernel(epsilon=epsilon):
            peak = 1 / (epsilon * math.sqrt(2 * math.pi))
            return peak * math.exp(-((z / epsilon) ** 2) / 2) if abs(z) < 13 * epsilon else 0.0
        case SigmoidKernel(epsilon=epsilon):
            e = math.exp(-abs(z) / epsilon)  # s(u) = 1 / (1 + e), 1 - s(u) = e / (1 + e), u = |z| / epsilon
            return e / (1 + e) ** 2 / epsilon


def naive_gradients(estimator: Estimator, m: Tensor, b: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients for m and for b, the latter summed over the batch, in float64."""
    for_m, for_b = torch.zeros_like(m, dtype=torch.float64), torch.zeros_like(b, dtype=torch.float64)
    for row in range(m.shape[0]):
        for latent in range(m.shape[1]):
            here = m[row, latent].item(), b[latent].item(), g[row, latent].item()
            for_m[row, latent], summand = naive_gradient(estimator, *here)
            for_b[latent] += summand
    return for_m, for_b


def naive_gradient(estimator: Estimator, m: float, b: float, g: float) -> tuple[float, float]:
    """Return the gradient for m and the summand of the one for b, of one latent of one token."""
    gate = step(m) * step(m + b)
    gated, sloped = times(gate, g), times(gate, g * m)
    match estimator:
        case ReluLike():
            return gated, gated
        case Ste():
            return times(gate, g * (1 + m)), sloped
        case SteBiasOnly():
            return gated, sloped
        case SteInputOnly():
            return times(gate, g * (1 + m)), gated
        case Interpolated(w_m=w_m, w_b=w_b, w_gate=w_gate):
            return lerp(gated, w_gate * gated + sloped, w_m), lerp(gated, sloped, w_b)
        case Surrogate(kernel=kernel, form=form):
            for_b = times(step(m) * naive_kernel(kernel, m + b), g * m)  # relu(m) = m T(m)
            by_input = times(naive_kernel(kernel, m) * step(m + b), g * m) if form == "product" else 0.0
            return gated + by_input + for_b, for_b


def step(z: float) -> float:
    """Return T(z)."""
    return float(z > 0)


def times(weight: float, value: float) -> float:
    """Return weight * value, zero where the weight is."""
    return weight * value if weight != 0 else 0.0


def lerp(start: float, end: float, weight: float) -> float:
    """Return start + weight (end - start), in the order that lets a weight of 0 or 1 leave one of them out."""
    return times(1 - weight, start) + times(weight, end)
