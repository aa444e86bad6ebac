"""Which synthetic gradient the gate of a ProLU gets: the named estimators, and the kernels of the surrogate family.

The names of things only; `prolu.models.gradients` has the functions. Notation: m is the projection without the bias, b the
bias, T(z) = 1[z > 0], gate = T(m) * T(m + b), g the gradient that reaches acts.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from prolu.spec.base import Number, Size, Spec, UnsignedZero

Weight = Annotated[Number, Field(ge=-100, le=100), UnsignedZero]


class HeavisideKernel(Spec):
    """k(z) = 1[z > 0]: the step is taken as its own derivative, as in ProLU_STE."""

    kind: Literal["heaviside"] = "heaviside"
    """Tag of the union."""


class UnitKernel(Spec):
    """k(z) = 1[0 < z < 1]."""

    kind: Literal["unit"] = "unit"
    """Tag of the union."""


class Clamp01Kernel(Spec):
    """k(z) = min(max(z, 0), 1)."""

    kind: Literal["clamp01"] = "clamp01"
    """Tag of the union."""


class Clamp11Kernel(Spec):
    """k(z) = min(max(z, -1), 1)."""

    kind: Literal["clamp11"] = "clamp11"
    """Tag of the union."""


class IdentityKernel(Spec):
    """k(z) = 1: the plain straight-through estimator (Bengio 2013, arXiv 1308.3432)."""

    kind: Literal["identity"] = "identity"
    """Tag of the union."""


class ExpKernel(Spec):
    """k(z) = e^z; above z = 10 the kernel is held at e^10, so that a step stays finite."""

    kind: Literal["exp"] = "exp"
    """Tag of the union."""


class _Windowed(Spec):
    epsilon: Size = 0.05
    """Width in m + b, for normalised input. Default 0.05; JumpReLU's 0.001 at unit norm is 0.06 at rms 1 (width 3584)."""


class RectangleKernel(_Windowed):
    """k(z) = 1[|z| < epsilon / 2] / epsilon (Rajamanoharan 2024, arXiv 2407.14435)."""

    kind: Literal["rectangle"] = "rectangle"
    """Tag of the union."""


class TriangleKernel(_Windowed):
    """k(z) = max(0, 1 - |z| / epsilon) / epsilon."""

    kind: Literal["triangle"] = "triangle"
    """Tag of the union."""


class GaussianKernel(_Windowed):
    """k(z) = exp(-z^2 / (2 epsilon^2)) / (epsilon sqrt(2 pi))."""

    kind: Literal["gaussian"] = "gaussian"
    """Tag of the union."""


class SigmoidKernel(_Windowed):
    """k(z) = s(z / epsilon) (1 - s(z / epsilon)) / epsilon, the derivative of the sigmoid s(z / epsilon)."""

    kind: Literal["sigmoid"] = "sigmoid"
    """Tag of the union."""


Kernel = Annotated[
    HeavisideKernel
    | UnitKernel
    | RectangleKernel
    | Clamp01Kernel
    | Clamp11Kernel
    | IdentityKernel
    | ExpKernel
    | TriangleKernel
    | GaussianKernel
    | SigmoidKernel,
    Field(discriminator="kind"),
]


class ReluLike(Spec):
    """ProLU_ReLU of the post: gradient g * gate for m and for b."""

    kind: Literal["relu_like"] = "relu_like"
    """Tag of the union."""


class Ste(Spec):
    """ProLU_STE of the post: gradient g * gate * (1 + m) for m, g * gate * m for b."""

    kind: Literal["ste"] = "ste"
    """Tag of the union."""


class SteBiasOnly(Spec):
    """The straight-through gradient for the bias alone: g * gate for m, g * gate * m for b."""

    kind: Literal["ste_bias_only"] = "ste_bias_only"
    """Tag of the union."""


class SteInputOnly(Spec):
    """The straight-through gradient for the input alone: g * gate * (1 + m) for m, g * gate for b."""

    kind: Literal["ste_input_only"] = "ste_input_only"
    """Tag of the union."""


class Interpolated(Spec):
    """Between `relu_like` (w_m = w_b = 0) and `ste` (all weights 1).

    For m: lerp(g * gate, w_gate * g * gate + g * gate * m, w_m); for b: lerp(g * gate, g * gate * m, w_b).
    """

    kind: Literal["interpolated"] = "interpolated"
    """Tag of the union."""
    w_m: Weight = 0.5
    """Weight of the straight-through gradient for m. Default 0.5, half way."""
    w_b: Weight = 0.5
    """Weight of the straight-through gradient for b. Default 0.5, half way."""
    w_gate: Weight = 1.0
    """Weight of g * gate within the straight-through gradient for m. Default 1, as in `ste`."""


class Surrogate(Spec):
    """A kernel k stands for T' wherever the product rule asks for it; see `form`."""

    kind: Literal["surrogate"] = "surrogate"
    """Tag of the union."""
    kernel: Kernel
    """What stands for the derivative of the step T."""
    form: Literal["gate", "product"] = "gate"
    """`gate`, the default, reads ProLU as relu(m) T(m + b), which gives `ste` with `heaviside`; `product` as m T(m) T(m + b)."""


Estimator = Annotated[
    ReluLike | Ste | SteBiasOnly | SteInputOnly | Interpolated | Surrogate,
    Field(discriminator="kind"),
]
