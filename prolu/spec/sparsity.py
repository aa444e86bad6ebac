"""What is paid for being active: the sparsity penalty and its coefficient."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from prolu.spec.base import Integer, Number, Spec


class _Sparsity(Spec):
    coefficient: Annotated[Number, Field(ge=0)]
    """lambda, the weight of the penalty beside the reconstruction loss. Its scale depends on `training.reconstruction`."""
    warmup_steps: Annotated[Integer, Field(ge=0, lt=2**63)] = 0
    """Steps over which the coefficient rises linearly from 0. Default 0, as in the post."""


class L1(_Sparsity):
    """lambda * mean over the batch of sum_i acts_i."""

    kind: Literal["l1"] = "l1"
    """Tag of the union."""


class SqrtL1(_Sparsity):
    """lambda * mean over the batch of sum_i sqrt(acts_i + epsilon), the post's second baseline."""

    kind: Literal["sqrt_l1"] = "sqrt_l1"
    """Tag of the union."""
    epsilon: Annotated[Number, Field(gt=0)] = 1e-6
    """Keeps the gradient finite at acts = 0. Default 1e-6, as in the post."""


SparsitySpec = Annotated[L1 | SqrtL1, Field(discriminator="kind")]
