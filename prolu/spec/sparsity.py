"""What is paid for being active: the sparsity penalty, its coefficient, and who steers it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from prolu.spec.base import LARGEST, LEAST, Integer, Number, Size, Spec, UnsignedZero, refusal


class L0Controller(Spec):
    """Steers the coefficient to a mean l0: after each step, lambda *= exp(rate * clamp(log(l0 / target_l0), -1, 1)).

    lambda stays within a factor of 1e4 of `coefficient`, either way: there it waits if the target is out of reach.
    """

    target_l0: Annotated[Number, Field(ge=1e-6)]
    """Mean number of active latents per token to reach."""
    rate: Annotated[Number, Field(gt=0, le=1)] = 0.003
    """How fast lambda follows, per step. Default 0.003: an e-fold in 333 steps while l0 is off by e or more; our choice."""
    pause_steps: Annotated[Integer, Field(ge=0, lt=2**63)] = 500
    """Steps after a resample on which lambda is left alone, since l0 is not itself then. Default 500; our choice."""


class NoPenalty(Spec):
    """Nothing is paid; for the TopK kinds, whose k is the sparsity."""

    kind: Literal["none"] = "none"
    """Tag of the union."""


class Penalty(Spec):
    """What all penalties have in common."""

    coefficient: Annotated[Number, Field(ge=0, le=LARGEST), UnsignedZero]
    """lambda, the weight of the penalty beside the reconstruction loss. Its scale depends on `training.reconstruction`."""
    warmup_steps: Annotated[Integer, Field(ge=0, lt=2**63)] = 0
    """Steps over which the coefficient rises linearly from 0. Default 0, as in the post."""
    controller: L0Controller | None = None
    """Steers lambda to a target l0, beginning with `coefficient` once it is warm; by default nobody does."""

    @model_validator(mode="after")
    def _controller_can_steer(self) -> Self:
        if self.controller is not None and self.coefficient < LEAST:
            raise refusal(
                f"is {self.coefficient:g}, and a controller only multiplies it; begin with a small one such as 1e-4",
                "coefficient",
            )
        return self


class L1(Penalty):
    """lambda * mean over the batch of sum_i acts_i; of a gated SAE, of relu(m + b_gate)."""

    kind: Literal["l1"] = "l1"
    """Tag of the union."""


class SqrtL1(Penalty):
    """lambda * mean over the batch of sum_i sqrt(acts_i + epsilon), the post's second baseline."""

    kind: Literal["sqrt_l1"] = "sqrt_l1"
    """Tag of the union."""
    epsilon: Annotated[Number, Field(ge=1e-12, le=1e6)] = 1e-6
    """Keeps the gradient finite at acts = 0. Default 1e-6, as in the post."""


class L1DecoderNorm(Penalty):
    """lambda * mean over the batch of sum_i acts_i * ||W_dec_i||, for decoders of free norm (Anthropic, April 2024 update)."""

    kind: Literal["l1_decoder_norm"] = "l1_decoder_norm"
    """Tag of the union."""


class Tanh(Penalty):
    """lambda * mean over the batch of sum_i tanh(scale * acts_i * ||W_dec_i||) (Anthropic, January 2025 update)."""

    kind: Literal["tanh"] = "tanh"
    """Tag of the union."""
    scale: Size = 4.0
    """How soon an act counts as one. Default 4, Anthropic's."""


class L0(Penalty):
    """lambda * mean over the batch of sum_i 1[z_i > theta_i], for `jumprelu`: theta gets -(1/epsilon) K((z - theta)/epsilon)."""

    kind: Literal["l0"] = "l0"
    """Tag of the union."""


SparsitySpec = Annotated[NoPenalty | L1 | SqrtL1 | L1DecoderNorm | Tanh | L0, Field(discriminator="kind")]
