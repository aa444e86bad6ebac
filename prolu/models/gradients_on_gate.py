"""The estimators whose gradient is a line in acts on the gate and exactly zero off it: all that keep `acts` alone.

`g` is the gradient that reaches acts, `gate` is 1 where the latent fired: T(m) T(m + b) for ProLU, where acts = m on the
gate, and T(m + b) for ReLU, where acts = m + b. Gradients for b are summed over the batch.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from prolu.models.gradients_function import at_least_float32, batch_sum
from prolu.models.nonlinearity import keep_where_positive


@dataclass(frozen=True)
class OnGate:
    """For m: g * gate * (m_constant + m_slope * acts); for b: g * gate * (b_constant + b_slope * acts).

    Keeps `acts` alone: it says where the gate is, and what m (of ReLU, m + b) is there. So m is freed.
    """

    m_constant: float
    m_slope: float
    b_constant: float
    b_slope: float

    @property
    def is_zero_off_gate(self) -> bool:
        """Always: the gate is a factor of both gradients."""
        return True

    def keep(self, m: Tensor, b: Tensor, acts: Tensor) -> tuple[Tensor, ...]:  # noqa: ARG002 of use to estimators that look off the gate
        """Return acts."""
        return (acts,)

    def gradients(self, g: Tensor, kept: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Return the gradients for m and for b. A term of weight 0 is left out, so that no 0 * inf arises from it."""
        (acts,) = kept
        gated = keep_where_positive(g, acts)
        for_b = gated.new_zeros(gated.shape[1], dtype=at_least_float32(g.dtype))
        if self.b_constant != 0:
            for_b.add_(batch_sum(gated), alpha=self.b_constant)
        if self.m_slope == 0 and self.b_slope == 0:
            return _scale(gated, self.m_constant), for_b
        sloped = gated * acts
        if self.b_slope != 0:
            for_b.add_(batch_sum(sloped), alpha=self.b_slope)
        for_m = _scale(gated, self.m_constant)
        return (for_m if self.m_slope == 0 else for_m.add_(sloped, alpha=self.m_slope)), for_b


def relu_exact() -> OnGate:
    """The true gradient of relu(m + b): g * T(m + b) for m and for b."""
    return OnGate(m_constant=1.0, m_slope=0.0, b_constant=1.0, b_slope=0.0)


def relu_ste() -> OnGate:
    """For relu(m + b), as ProLU_STE does for ProLU: g * T(m + b) * (1 + (m + b)) for m and for b.

    It reads relu(z) as z T(z) with T taken as its own derivative; so the ProLU exchange asks whether it helps a ReLU.
    """
    return OnGate(m_constant=1.0, m_slope=1.0, b_constant=1.0, b_slope=1.0)


def relu_like() -> OnGate:
    """g * gate for m and for b: ProLU_ReLU of the ProLU post."""
    return OnGate(m_constant=1.0, m_slope=0.0, b_constant=1.0, b_slope=0.0)


def ste() -> OnGate:
    """g * gate * (1 + m) for m, g * gate * m for b: ProLU_STE of the ProLU post."""
    return OnGate(m_constant=1.0, m_slope=1.0, b_constant=0.0, b_slope=1.0)


def ste_bias_only() -> OnGate:
    """g * gate for m, g * gate * m for b: half of `ste`, from the exchange under the ProLU post."""
    return OnGate(m_constant=1.0, m_slope=0.0, b_constant=0.0, b_slope=1.0)


def ste_input_only() -> OnGate:
    """g * gate * (1 + m) for m, g * gate for b: the other half of `ste`, from the exchange under the ProLU post."""
    return OnGate(m_constant=1.0, m_slope=1.0, b_constant=1.0, b_slope=0.0)


def interpolated(*, w_m: float, w_b: float, w_gate: float) -> OnGate:
    """For m: lerp(g * gate, w_gate * g * gate + g * gate * m, w_m); for b: lerp(g * gate, g * gate * m, w_b).

    Here lerp(a, c, w) = a + w (c - a), so the constants are 1 - w_m + w_m w_gate and 1 - w_b, the slopes w_m and w_b.
    Source: the exchange under the ProLU post; w_m = w_b = 0 is `relu_like`, all weights 1 `ste`.
    """
    return OnGate(m_constant=1 - w_m + w_m * w_gate, m_slope=w_m, b_constant=1 - w_b, b_slope=w_b)


def product_of_heavisides() -> OnGate:
    """g * gate * (1 + 2 m) for m, g * gate * m for b: ProLU as m T(m) T(m + b), T taken as its own derivative."""
    return OnGate(m_constant=1.0, m_slope=2.0, b_constant=0.0, b_slope=1.0)


def _scale(values: Tensor, weight: float) -> Tensor:
    return values if weight == 1 else values.mul_(weight)
