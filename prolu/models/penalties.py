"""What is paid for being active: one function per sparsity penalty, without its coefficient."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from prolu.spec.sparsity import L1, SparsitySpec, SqrtL1

Penalty = Callable[[Tensor], Tensor]


def penalty_of(spec: SparsitySpec) -> Penalty:
    """Return the function acts -> penalty that `spec` names; the loss adds lambda times it."""
    match spec:
        case L1():
            return l1
        case SqrtL1(epsilon=epsilon):
            return lambda acts: sqrt_l1(acts, epsilon)


def l1(acts: Float[Tensor, "batch d_sae"]) -> Float[Tensor, ""]:
    """Return the mean over the batch of sum_i acts_i; acts are never negative, so no absolute value is taken."""
    return acts.sum(dim=1).mean()


def sqrt_l1(acts: Float[Tensor, "batch d_sae"], epsilon: float) -> Float[Tensor, ""]:
    """Return the mean over the batch of sum_i sqrt(acts_i + epsilon); with no latent active it is d_sae * sqrt(epsilon).

    Source: ProLU post, second baseline.
    """
    return torch.sqrt(acts + epsilon).sum(dim=1).mean()
