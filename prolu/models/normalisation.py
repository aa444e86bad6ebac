"""Bring activations to the scale that an autoencoder trains at, and its outputs back. Knows no data."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from prolu.spec.data import Normalisation


@dataclass(frozen=True)
class Normaliser:
    """Divides each row x by a scale s, and multiplies it back.

        none          s = 1
        per_token     s = ||x|| / sqrt(d_in), so that every row has norm sqrt(d_in)
        dataset_rms   s = rms, one number, so that the mean of ||x||^2 over the training data is d_in

    A scale of 0 (a zero row, data of zeros alone) divides nothing. Positive scales change no direction, so an autoencoder's
    features point the same way in both spaces. Source of `per_token`: "ProLU: A Nonlinearity for Sparse Autoencoders"
    (AlignmentForum, 2024), training details. Raises ValueError unless `rms` is given for `dataset_rms` and for it alone.
    """

    kind: Normalisation
    """Which scale."""
    rms: float | None = None
    """sqrt(mean ||x||^2 / d_in) of the training data, for `dataset_rms`; None for the others."""

    def __post_init__(self) -> None:
        if self.kind == "dataset_rms" and not (self.rms is not None and math.isfinite(self.rms) and self.rms >= 0):
            raise ValueError(
                f"A dataset_rms normaliser got the rms {self.rms}; give the data's, finite and not negative."
            )
        if self.kind != "dataset_rms" and self.rms is not None:
            raise ValueError(f"A {self.kind} normaliser got the rms {self.rms}; leave it out.")

    def scales(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, " batch"]:
        """Return s of each raw row."""
        if self.kind == "per_token":
            norms: Tensor = torch.linalg.vector_norm(x, dim=1)
            return norms / math.sqrt(x.shape[1])
        return x.new_full((len(x),), 1.0 if self.rms is None else self.rms)

    def normalise(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_in"]:
        """Return x / s; `none` returns x itself."""
        if self.kind == "none":
            return x
        scales = self.scales(x)
        return x / scales.masked_fill(scales == 0, 1.0).unsqueeze(1)

    def denormalise(
        self, x_hat: Float[Tensor, "batch d_in"], scales: Float[Tensor, " batch"]
    ) -> Float[Tensor, "batch d_in"]:
        """Return x_hat * s, with the `scales` of the raw rows: undo `normalise` at the output; `none` returns x_hat itself."""
        return x_hat if self.kind == "none" else x_hat * scales.unsqueeze(1)
