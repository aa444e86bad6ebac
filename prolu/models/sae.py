"""The family: which module a spec names, and how a new one starts."""

from __future__ import annotations

import torch

from prolu.models.autoencoder import Sae
from prolu.models.gated import Gated
from prolu.models.jumprelu import JumpRelu
from prolu.models.matryoshka import MatryoshkaBatchTopK
from prolu.models.pointwise import Pointwise
from prolu.models.topk import BatchTopK, TopK
from prolu.spec.sae import (
    BatchTopKSae,
    GatedSae,
    JumpReluSae,
    MatryoshkaBatchTopKSae,
    ProluHybridSae,
    ProluSae,
    ReluSae,
    SaeSpec,
    TopKSae,
)

__all__ = ["Sae", "build_sae", "sae_of"]


def sae_of(spec: SaeSpec, d_in: int) -> Sae:
    """Return the autoencoder that `spec` names, on the CPU, its weights and biases zero."""
    match spec:
        case ReluSae() | ProluSae() | ProluHybridSae():
            return Pointwise(spec, d_in)
        case JumpReluSae():
            return JumpRelu(spec, d_in)
        case GatedSae():
            return Gated(spec, d_in)
        case TopKSae():
            return TopK(spec, d_in)
        case BatchTopKSae():
            return BatchTopK(spec, d_in)
        case MatryoshkaBatchTopKSae():
            return MatryoshkaBatchTopK(spec, d_in)


def build_sae(spec: SaeSpec, d_in: int, seed: int) -> Sae:
    """Return a new autoencoder on the CPU: random decoder rows of norm `decoder_init_norm`, W_enc = W_dec^T, biases zero.

    Directions are uniform on the sphere, drawn on the CPU, so that a seed means the same weights on every device.
    Source: ProLU post, training; untied after the start. b_dec is `prolu.models.initialisation`'s, since it wants data.
    """
    sae = sae_of(spec, d_in)
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(spec.d_sae, d_in, generator=generator)
    rows *= spec.decoder_init_norm / rows.norm(dim=1, keepdim=True)
    with torch.no_grad():
        sae.W_dec.copy_(rows)
        sae.W_enc.copy_(rows.T)
    return sae
