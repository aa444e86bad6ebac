"""ReLU, ProLU and their hybrid: each act is a function of its own projection and bias alone."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from prolu.models.autoencoder import Sae
from prolu.models.gradients import activation_of
from prolu.spec.sae import ProluHybridSae, ProluSae, ReluSae


class Pointwise(Sae):
    """acts = f(m, b_enc), with f and its gradient as `prolu.models.gradients` has them.

    relu: relu(m + b_enc). prolu: m T(m) T(m + b_enc). prolu_hybrid: prolu where b_enc < 0, relu elsewhere.
    """

    def __init__(self, spec: ReluSae | ProluSae | ProluHybridSae, d_in: int) -> None:
        super().__init__(spec, d_in)
        self.b_enc = nn.Parameter(torch.zeros(spec.d_sae))
        self._activation = activation_of(spec)

    def encode(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_sae"]:
        """Return acts = f(m, b_enc)."""
        return self._activation(self.pre_acts(x), self.b_enc)

    @property
    def gate_bias(self) -> Float[Tensor, " d_sae"]:
        """b_enc as it is; of prolu, what is positive in it opens the gate no further."""
        return self.b_enc

    def _in_units_of_acts(self) -> list[Float[Tensor, " d_sae"]]:
        return [self.b_enc]
