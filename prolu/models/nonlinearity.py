"""What the nonlinearities compute, forward only. Knows nothing of gradients or of sparse autoencoders.

Notation: `m` is the projection without the encoder bias, `b` the encoder bias, `T(z) = 1[z > 0]`, strict.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def relu(m: Float[Tensor, "batch d_sae"], b: Float[Tensor, " d_sae"]) -> Float[Tensor, "batch d_sae"]:
    """Return relu(m + b)."""
    return (m + b).relu_()


def prolu(m: Float[Tensor, "batch d_sae"], b: Float[Tensor, " d_sae"]) -> Float[Tensor, "batch d_sae"]:
    """Return m * T(m) * T(m + b): the bias gates and never shifts the magnitude.

    Computed as m * T(m + min(0, b)), which is the same to the bit: a positive bias adds nothing to T(m), a negative one
    implies it, and the sign of a rounded sum is the sign of the exact sum. Source: ProLU post, "ProLU".
    """
    return keep_where_positive(m, m + b.clamp(max=0))


def effective_thresholds(b: Float[Tensor, " d_sae"]) -> Float[Tensor, " d_sae"]:
    """Return max(0, -b): with this threshold JumpReLU m * T(m - threshold) equals ProLU(m, b)."""
    return (-b).clamp(min=0)


def keep_where_positive(
    values: Float[Tensor, "batch d_sae"], z: Float[Tensor, "batch d_sae"]
) -> Float[Tensor, "batch d_sae"]:
    """Return values * T(z) in one pass over memory.

    This is the kernel behind the backward pass of ReLU; it is several times faster than a comparison and a product.
    Where z is NaN the value passes, so that a NaN is never hidden.
    """
    kept: Tensor = torch.ops.aten.threshold_backward(values, z, 0)
    return kept
