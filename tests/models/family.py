"""Every kind of autoencoder with a penalty, small and filled with numbers that leave no branch untouched."""

from dataclasses import dataclass

import torch
from torch import Tensor

from prolu.models.sae import Sae, sae_of
from prolu.spec.estimators import ReluLike
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
from prolu.spec.sparsity import L0, L1, L1DecoderNorm, NoPenalty, SparsitySpec, SqrtL1, Tanh

D_IN, D_SAE, BATCH = 3, 8, 5
LAMBDA = 0.3


@dataclass(frozen=True)
class Member:
    """One architecture with one penalty."""

    spec: SaeSpec
    sparsity: SparsitySpec

    def build(self, dtype: torch.dtype = torch.float64) -> Sae:
        """Return it with random parameters: biases of both signs, decoder rows of many norms, a threshold."""
        sae = sae_of(self.spec, D_IN)
        generator = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for name, parameter in sorted(sae.named_parameters()):
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * (1.0 if "W" in name else 0.4))
            for name, buffer in sae.named_buffers():
                buffer.fill_(0.3 if name == "threshold" else 7)
        return sae.to(dtype)


def _member(spec: SaeSpec, sparsity: SparsitySpec | None = None) -> Member:
    return Member(spec, sparsity or L1(coefficient=LAMBDA))


FAMILY: dict[str, Member] = {
    "relu": _member(ReluSae(d_sae=D_SAE)),
    "relu sqrt_l1": _member(ReluSae(d_sae=D_SAE), SqrtL1(coefficient=LAMBDA, epsilon=0.01)),
    "relu l1_decoder_norm": _member(ReluSae(d_sae=D_SAE, decoder_norm="free"), L1DecoderNorm(coefficient=LAMBDA)),
    "relu tanh": _member(ReluSae(d_sae=D_SAE, decoder_norm="free"), Tanh(coefficient=LAMBDA, scale=0.5)),
    "prolu relu_like": _member(ProluSae(d_sae=D_SAE, estimator=ReluLike())),
    "prolu ste": _member(ProluSae(d_sae=D_SAE)),
    "prolu_hybrid": _member(ProluHybridSae(d_sae=D_SAE)),
    "jumprelu": _member(JumpReluSae(d_sae=D_SAE, bandwidth=0.8), L0(coefficient=LAMBDA)),
    "jumprelu l1": _member(JumpReluSae(d_sae=D_SAE, bandwidth=0.8)),
    "gated": _member(GatedSae(d_sae=D_SAE, auxiliary_coefficient=0.7)),
    "gated l1_decoder_norm": _member(GatedSae(d_sae=D_SAE, decoder_norm="free"), L1DecoderNorm(coefficient=LAMBDA)),
    "topk": _member(TopKSae(d_sae=D_SAE, k=2, aux_k=2), NoPenalty()),
    "topk few dead": _member(TopKSae(d_sae=D_SAE, k=2, aux_k=6), NoPenalty()),
    "batch_topk": _member(BatchTopKSae(d_sae=D_SAE, k=2, aux_k=2), NoPenalty()),
    "matryoshka": _member(
        MatryoshkaBatchTopKSae(d_sae=D_SAE, k=3, aux_k=2, aux_coefficient=0.5, prefixes=[2, 5, D_SAE]), NoPenalty()
    ),
}

DEAD = torch.tensor([False, True, False, False, True, True, False, False])


def inputs(dtype: torch.dtype = torch.float64) -> Tensor:
    """Return a batch."""
    return torch.randn(BATCH, D_IN, generator=torch.Generator().manual_seed(4)).to(dtype)
