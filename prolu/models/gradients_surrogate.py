"""The surrogate estimators: a kernel k stands for T' wherever the product rule asks for it.

`g` is the gradient that reaches acts, T(z) = 1[z > 0]. A gate or a kernel that is zero makes its term zero, whatever stands
beside it: 0 * inf = 0 here. Where m or b is NaN no term is silently zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from prolu.models.gradients_function import GradientRule, at_least_float32, batch_sum
from prolu.models.gradients_on_gate import product_of_heavisides, ste
from prolu.models.kernels import KernelFunction, is_zero_below_zero, kernel_of
from prolu.models.nonlinearity import keep_where_positive
from prolu.spec.estimators import HeavisideKernel, Kernel


def surrogate(kernel: Kernel, form: Literal["gate", "product"]) -> GradientRule:
    """`gate` reads ProLU as relu(m) T(m + b), `product` as m T(m) T(m + b); the kernel k stands for T'.

    gate: for m g * (T(m) T(m + b) + relu(m) k(m + b)), for b g * relu(m) k(m + b).
    product: for m g * (T(m) T(m + b) + m k(m) T(m + b) + m T(m) k(m + b)), for b g * m T(m) k(m + b).
    With `heaviside` the first is `ste` itself and the second has 1 + 2 m for 1 + m. Source: the ProLU post, "ProLU_STE",
    and the exchange under it; the kernels' sources are in `prolu.spec.estimators`.
    """
    if isinstance(kernel, HeavisideKernel):
        return ste() if form == "gate" else product_of_heavisides()
    return SurrogateRule(
        kernel=kernel_of(kernel), is_product=form == "product", is_zero_off_gate=is_zero_below_zero(kernel)
    )


@dataclass(frozen=True)
class SurrogateRule:
    """The formulas of `surrogate` for any kernel.

    Keeps acts, m and b. Off the gate m cannot be had from acts; but a kernel that is zero for z <= 0 is asked for nothing
    there, and on the gate m is acts: then acts and b are enough, and m is freed.
    """

    kernel: KernelFunction
    is_product: bool
    is_zero_off_gate: bool
    """Whether the kernel is zero for z <= 0: then every term has a factor that is zero where the latent did not fire."""

    def keep(self, m: Tensor, b: Tensor, acts: Tensor) -> tuple[Tensor, ...]:
        """Return acts, m (or acts in its place), and b."""
        return acts, acts if self.is_zero_off_gate else m, b

    def gradients(self, g: Tensor, kept: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Return the gradients for m and for b, computed in float32 at least: a narrow kernel multiplies rounding errors."""
        acts, m, b = kept
        dtype = at_least_float32(torch.promote_types(m.dtype, b.dtype))
        g, acts, m = g.to(dtype), acts.to(dtype), m.to(dtype)
        z = m + b.to(dtype)
        for_m = keep_where_positive(g, acts)
        slope = g * m
        if self.is_product:
            for_m.add_(_weigh(keep_where_positive(slope, z), self.kernel(m)))  # g m k(m) T(m + b)
        slope = _weigh(keep_where_positive(slope, m, out=slope), self.kernel(z))  # g relu(m) k(m + b)
        return for_m.add_(slope), batch_sum(slope)


def _weigh(values: Tensor, weights: Tensor) -> Tensor:
    """Return values * weights with inf * 0 = 0; overwrites the values."""
    return keep_where_positive(values, weights.abs(), out=values).mul_(weights)
