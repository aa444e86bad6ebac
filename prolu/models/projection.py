"""The encoder's product, with a backward pass that spares one of three. Knows nothing of nonlinearities."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable


def project(
    x: Float[Tensor, "batch d_in"], b_dec: Float[Tensor, " d_in"], W_enc: Float[Tensor, "d_in d_sae"]
) -> Float[Tensor, "batch d_sae"]:
    """Return m = (x - b_dec) @ W_enc.

    Gradients: W_enc gets (x - b_dec)^T @ g, and b_dec gets -(sum of g over the batch) @ W_enc^T. Autograd would form
    g @ W_enc^T for the whole batch and sum afterwards, as dear as the forward product; training has no use for it, since
    x is data. It is formed only if x asks for a gradient. Under autocast all products are in the precision of m.
    """
    m: Tensor = _Projection.apply(x, b_dec, W_enc)
    return m


class _Projection(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, b_dec: Tensor, W_enc: Tensor) -> Tensor:
        centred = x - b_dec
        m = centred @ W_enc
        ctx.save_for_backward(centred.to(m.dtype), W_enc.to(m.dtype))
        return m

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        centred, W_enc = ctx.saved_tensors
        x_wanted, b_dec_wanted, W_enc_wanted = ctx.needs_input_grad
        for_x = g @ W_enc.T if x_wanted else None
        for_b_dec = -(W_enc @ g.sum(dim=0)) if b_dec_wanted else None
        for_W_enc = centred.T @ g if W_enc_wanted else None
        return for_x, for_b_dec, for_W_enc
