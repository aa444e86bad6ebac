"""What a training pass hands to the optimizer's loop: the parts of the loss, and what they were computed from."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Terms:
    """loss = reconstruction + coefficient * penalty + auxiliary, where the coefficient is the run's lambda at that step."""

    acts: Float[Tensor, "batch d_sae"]
    """What the latents were in this pass; of the TopK kinds those that won, of a batch kind within this batch."""
    x_hat: Float[Tensor, "batch d_in"]
    """The reconstruction from all of `acts`."""
    reconstruction: Float[Tensor, ""]
    """The error that is minimised; of a Matryoshka autoencoder, the mean over its prefixes."""
    penalty: Float[Tensor, ""]
    """What is paid for being active, without its coefficient; 0 if nothing is."""
    auxiliary: Float[Tensor, ""]
    """What the architecture adds, with its own coefficients: gated's reconstruction by the gates, AuxK; 0 if nothing."""
