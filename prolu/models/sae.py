"""The sparse autoencoder: four parameters, encode, decode. Knows nothing of losses, optimizers or data."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from prolu.models.gradients import activation_of
from prolu.models.projection import project
from prolu.spec.sae import SaeSpec


class Sae(nn.Module):
    """x_hat = acts @ W_dec + b_dec, where acts = f(m, b_enc) and m = (x - b_dec) @ W_enc.

    Parameters: W_enc (d_in, d_sae), b_enc (d_sae,), W_dec (d_sae, d_in), b_dec (d_in,), all zero until `build_sae` or
    `load_sae` fills them. `x` is in the space that the run trained in: if the spec's `data.normalisation` is `per_token`,
    scale each x to ||x|| = sqrt(d_in) before, and x_hat back after.
    """

    def __init__(self, spec: SaeSpec, d_in: int) -> None:
        super().__init__()
        self.spec = spec
        self.d_in = d_in
        self.d_sae = spec.d_sae
        self.W_enc = nn.Parameter(torch.zeros(d_in, spec.d_sae))
        self.b_enc = nn.Parameter(torch.zeros(spec.d_sae))
        self.W_dec = nn.Parameter(torch.zeros(spec.d_sae, d_in))
        self.b_dec = nn.Parameter(torch.zeros(d_in))
        self._activation = activation_of(spec)

    def pre_acts(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_sae"]:
        """Return m = (x - b_dec) @ W_enc, without the encoder bias."""
        return project(x, self.b_dec, self.W_enc)

    def encode(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_sae"]:
        """Return acts = f(m, b_enc), never negative."""
        return self._activation(self.pre_acts(x), self.b_enc)

    def decode(self, acts: Float[Tensor, "batch d_sae"]) -> Float[Tensor, "batch d_in"]:
        """Return x_hat = acts @ W_dec + b_dec."""
        return torch.addmm(self.b_dec, acts, self.W_dec)

    def extra_repr(self) -> str:
        """Say the kind and the shape when printed."""
        return f"{self.spec.kind}, d_in={self.d_in}, d_sae={self.d_sae}"

    def forward(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_in"]:
        """Return the reconstruction x_hat."""
        return self.decode(self.encode(x))


def build_sae(spec: SaeSpec, d_in: int, seed: int) -> Sae:
    """Return a new autoencoder on the CPU: random decoder rows of norm `decoder_init_norm`, W_enc = W_dec^T, biases zero.

    Directions are uniform on the sphere, drawn on the CPU, so that a seed means the same weights on every device.
    Source: ProLU post, training; untied after the start.
    """
    sae = Sae(spec, d_in)
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(spec.d_sae, d_in, generator=generator)
    rows *= spec.decoder_init_norm / rows.norm(dim=1, keepdim=True)
    with torch.no_grad():
        sae.W_dec.copy_(rows)
        sae.W_enc.copy_(rows.T)
    return sae
