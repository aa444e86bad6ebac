"""The JumpReLU autoencoder: every latent trains a threshold of its own.

Source: Rajamanoharan et al. 2024, "Jumping Ahead", arXiv 2407.14435.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from prolu.models.autoencoder import Sae
from prolu.models.gradients import jumprelu, step_l0
from prolu.models.penalties import penalty_for
from prolu.models.reconstruction import Reduction, reconstruction_loss
from prolu.models.terms import Terms
from prolu.spec.sae import JumpReluSae
from prolu.spec.sparsity import L0, SparsitySpec


class JumpRelu(Sae):
    """acts = relu(z) * 1[z > theta], z = m + b_enc (section 3).

    Parameters: b_enc (d_sae,) and `threshold`, theta (d_sae,), which starts at `initial_threshold`. theta is trained
    itself, where the paper trains its logarithm; should it fall below 0, acts = relu(z). Weights are float32 also under
    autocast, and so z, a sum with b_enc, is compared with theta in float32.

    Which gradients flow where (sections 3 and 4): reconstruction reaches z where a latent fires, and theta
    through the rectangle kernel; the l0 penalty reaches theta alone. Other penalties reach both, through the acts.
    """

    def __init__(self, spec: JumpReluSae, d_in: int) -> None:
        super().__init__(spec, d_in)
        self._bandwidth = spec.bandwidth
        self.b_enc = nn.Parameter(torch.zeros(spec.d_sae))
        self.threshold = nn.Parameter(torch.full((spec.d_sae,), spec.initial_threshold))

    def encode(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_sae"]:
        """Return acts = relu(z) * 1[z > theta]."""
        return jumprelu(self._z(x), self.threshold, bandwidth=self._bandwidth)

    @property
    def gate_bias(self) -> Float[Tensor, " d_sae"]:
        """b_enc - max(0, theta): a latent fires iff z > theta and z > 0."""
        return self.b_enc - self.threshold.clamp(min=0)

    def terms(
        self,
        x: Float[Tensor, "batch d_in"],
        *,
        sparsity: SparsitySpec,
        over: Reduction,
        dead: Bool[Tensor, " d_sae"] | None,  # noqa: ARG002 nobody is revived here
    ) -> Terms:
        """Return the terms of the loss; the l0 penalty is the mean over the batch of sum_i 1[z_i > theta_i] (section 3)."""
        z = self._z(x)
        acts = jumprelu(z, self.threshold, bandwidth=self._bandwidth)
        x_hat = self.decode(acts)
        if isinstance(sparsity, L0):
            penalty = step_l0(z, self.threshold, bandwidth=self._bandwidth)
        else:
            penalty = penalty_for(sparsity, acts, self.W_dec)
        return Terms(
            acts=acts,
            x_hat=x_hat,
            reconstruction=reconstruction_loss(x_hat, x, over=over),
            penalty=penalty,
            auxiliary=x.new_zeros(()),
        )

    def _z(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_sae"]:
        return self.pre_acts(x) + self.b_enc

    def _in_units_of_acts(self) -> list[Float[Tensor, " d_sae"]]:
        return [self.b_enc, self.threshold]
