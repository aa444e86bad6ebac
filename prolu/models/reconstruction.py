"""What is paid for the error of the reconstruction."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

Reduction = Literal["mean", "sum"]


def reconstruction_loss(
    x_hat: Float[Tensor, "batch d_in"], x: Float[Tensor, "batch d_in"], *, over: Reduction
) -> Float[Tensor, ""]:
    """Return the squared error averaged over the batch, and over d_in averaged (`mean`, the post) or summed (`sum`).

    `mean`: sum of (x_hat - x)^2 / (batch * d_in). `sum`: sum of (x_hat - x)^2 / batch. The loss is this plus lambda times
    the penalty, so `sum` with d_in * lambda has the optimum of `mean` with lambda. Computed in the precision of x.
    """
    x_hat = x_hat.to(x.dtype)
    if over == "mean":
        return functional.mse_loss(x_hat, x)
    return functional.mse_loss(x_hat, x, reduction="sum") / len(x)
