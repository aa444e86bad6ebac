"""Per-token normalisation of activations, and its inverse at the output."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from prolu.spec.data import Normalisation


def norm_scales(x: Float[Tensor, "batch d_in"]) -> Float[Tensor, " batch"]:
    """Return s = ||x|| / sqrt(d_in) of each row: the factor that per-token normalisation divides by.

    A zero row has scale 0.
    """
    norms: Tensor = torch.linalg.vector_norm(x, dim=1)
    return norms / math.sqrt(x.shape[1])


def normalise(x: Float[Tensor, "batch d_in"], kind: Normalisation) -> Float[Tensor, "batch d_in"]:
    """Return x / s with s = ||x|| / sqrt(d_in), so that every row has norm sqrt(d_in); `none` returns x itself.

    Zero rows stay zero. Source: "ProLU: A Nonlinearity for Sparse Autoencoders" (AlignmentForum, 2024), training details.
    """
    if kind == "none":
        return x
    scales = norm_scales(x)
    return x / scales.masked_fill(scales == 0, 1.0).unsqueeze(1)


def denormalise(x_hat: Float[Tensor, "batch d_in"], scales: Float[Tensor, " batch"]) -> Float[Tensor, "batch d_in"]:
    """Return x_hat * s: undo `normalise` at the output, with the `norm_scales` of the rows that were normalised."""
    return x_hat * scales.unsqueeze(1)
