"""What is paid for being active: one function per sparsity penalty, without its coefficient."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from prolu.spec.sparsity import L0, L1, L1DecoderNorm, NoPenalty, SparsitySpec, SqrtL1, Tanh


def penalty_for(
    spec: SparsitySpec, acts: Float[Tensor, "batch d_sae"], W_dec: Float[Tensor, "d_sae d_in"]
) -> Float[Tensor, ""]:
    """Return the penalty that `spec` names, in the precision of W_dec; the loss adds lambda times it.

    Raises ValueError for `l0`, which is not a function of the acts: see `prolu.models.jumprelu`.
    """
    acts = acts.to(W_dec.dtype)
    match spec:
        case NoPenalty():
            return W_dec.new_zeros(())
        case L1():
            return l1(acts)
        case SqrtL1(epsilon=epsilon):
            return sqrt_l1(acts, epsilon)
        case L1DecoderNorm():
            return l1_decoder_norm(acts, W_dec)
        case Tanh(scale=scale):
            return tanh(acts, W_dec, scale)
        case L0():
            raise ValueError(
                "The l0 penalty is a step of jumprelu's pre-activation; choose another penalty, or jumprelu."
            )


def l1(acts: Float[Tensor, "batch d_sae"]) -> Float[Tensor, ""]:
    """Return the mean over the batch of sum_i acts_i; acts are never negative, so no absolute value is taken."""
    return acts.sum(dim=1).mean()


def sqrt_l1(acts: Float[Tensor, "batch d_sae"], epsilon: float) -> Float[Tensor, ""]:
    """Return the mean over the batch of sum_i sqrt(acts_i + epsilon); with no latent active it is d_sae * sqrt(epsilon).

    Source: ProLU post, second baseline.
    """
    return torch.sqrt(acts + epsilon).sum(dim=1).mean()


def l1_decoder_norm(acts: Float[Tensor, "batch d_sae"], W_dec: Float[Tensor, "d_sae d_in"]) -> Float[Tensor, ""]:
    """Return the mean over the batch of sum_i acts_i ||W_dec_i||; its gradient reaches the norms too.

    Latents cannot evade it by small acts and long decoder rows, so rows may be of any norm.
    Source: Anthropic, Circuits Updates April 2024, "Update on how we train SAEs".
    """
    return (acts.mean(dim=0) * row_norms(W_dec)).sum()


def tanh(acts: Float[Tensor, "batch d_sae"], W_dec: Float[Tensor, "d_sae d_in"], scale: float) -> Float[Tensor, ""]:
    """Return the mean over the batch of sum_i tanh(scale * acts_i * ||W_dec_i||); its gradient reaches the norms too.

    For strong acts it approaches l0: an act is charged for being there, hardly for its size.
    Source: Anthropic, Circuits Updates January 2025, "Dictionary Learning Optimization Techniques".
    """
    return torch.tanh(scale * acts * row_norms(W_dec)).sum(dim=1).mean()


def row_norms(W_dec: Float[Tensor, "d_sae d_in"]) -> Float[Tensor, " d_sae"]:
    """Return ||W_dec_i|| of each row."""
    norms: Tensor = torch.linalg.vector_norm(W_dec, dim=1)
    return norms
