"""What the nonlinearities compute, forward only. Knows nothing of gradients or of sparse autoencoders.

Notation: `m` is the projection without the encoder bias, `b` the encoder bias, `T(z) = 1[z > 0]`, strict. acts come in the
dtype of m; a bias or a threshold of higher precision moves the gate, never the dtype. Where m or b is NaN, acts are NaN;
of m = inf and b = -inf, whose sum alone is NaN, relu is NaN and the others are m.
`prolu.models.gradients` makes these differentiable; by themselves they take no tensor that requires a gradient.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def relu(m: Float[Tensor, "batch d_sae"], b: Float[Tensor, " d_sae"]) -> Float[Tensor, "batch d_sae"]:
    """Return relu(m + b)."""
    return (m + b).relu_().to(m.dtype)


def prolu(m: Float[Tensor, "batch d_sae"], b: Float[Tensor, " d_sae"]) -> Float[Tensor, "batch d_sae"]:
    """Return m * T(m) * T(m + b): the bias gates and never shifts the magnitude.

    Computed as m * T(m + min(0, b)), which is the same to the bit: a positive bias adds nothing to T(m), a negative one
    implies it, and the sign of a rounded sum is the sign of the exact sum. Source: ProLU post, "ProLU".
    """
    return _where_positive(m, m + b.clamp(max=0), b)


def prolu_hybrid(m: Float[Tensor, "batch d_sae"], b: Float[Tensor, " d_sae"]) -> Float[Tensor, "batch d_sae"]:
    """Return ProLU(m, b) where b < 0 and relu(m + b) where b >= 0.

    Computed as (m + max(0, b)) * T(m + b). Source: a question under the ProLU post.
    """
    return _where_positive(m + b.clamp(min=0), m + b, b).to(m.dtype)


def jumprelu(z: Float[Tensor, "batch d_sae"], theta: Float[Tensor, " d_sae"]) -> Float[Tensor, "batch d_sae"]:
    """Return relu(z) * 1[z > theta]: never negative, so that a negative theta acts as zero.

    Computed as z * T(z - max(0, theta)). Source: Rajamanoharan 2024, arXiv 2407.14435, section 2; there theta > 0.
    """
    return _where_positive(z, z - theta.clamp(min=0), theta)


def effective_thresholds(b: Float[Tensor, " d_sae"]) -> Float[Tensor, " d_sae"]:
    """Return max(0, -b): with this threshold JumpReLU m * T(m - threshold) equals ProLU(m, b)."""
    return (-b).clamp(min=0)


def keep_where_positive(values: Tensor, z: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Return values * T(z) in one pass over memory, with 0 * inf = 0; the two shapes broadcast.

    This is the kernel behind the backward pass of ReLU; it is several times faster than a comparison and a product.
    Where z is NaN the value passes, so that a NaN is never hidden. `out` may be `values` or `z`: a fresh tensor of this
    size can cost more than the pass.
    """
    if out is None:
        kept: Tensor = torch.ops.aten.threshold_backward(values, z, 0)
        return kept
    torch.ops.aten.threshold_backward.grad_input(values, z, 0, grad_input=out)
    return out


def keep_where_within(values: Tensor, z: Tensor, *, low: float, high: float, out: Tensor | None = None) -> Tensor:
    """Return values * 1[low < z < high], strict at both ends; in all else as `keep_where_positive`."""
    if out is None:
        kept: Tensor = torch.ops.aten.hardtanh_backward(values, z, low, high)
        return kept
    torch.ops.aten.hardtanh_backward.grad_input(values, z, low, high, grad_input=out)
    return out


def _where_positive(values: Tensor, z: Tensor, bias: Tensor) -> Tensor:
    """Return values * T(z) in the dtype of values, NaN in the columns where the bias is NaN; overwrites z."""
    unknown = bias.clamp(0, 0)  # 0, or NaN
    return keep_where_positive(values, z, out=z).add_(unknown).to(values.dtype)
