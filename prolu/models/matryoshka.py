"""The Matryoshka autoencoder: nested dictionaries, each of which must do without the latents after it.

Source: Bussmann et al. 2025, "Learning multi-level features with Matryoshka sparse autoencoders", arXiv 2503.17547.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from prolu.models.reconstruction import Reduction, reconstruction_loss
from prolu.models.topk import BatchTopK
from prolu.spec.sae import MatryoshkaBatchTopKSae


class MatryoshkaBatchTopK(BatchTopK):
    """Batch TopK whose first p latents must reconstruct x by themselves, for every prefix p of the spec.

    Loss (section 3): the mean over prefixes of the error of x_hat_p = acts[:p] @ W_dec[:p] + b_dec, plus AuxK on the
    error of the whole. The paper sums over prefixes and its public code takes the mean, there with b_dec alone as one more
    prefix; the mean over the prefixes that were asked for keeps the scale of a loss independent of their number.
    """

    def __init__(self, spec: MatryoshkaBatchTopKSae, d_in: int) -> None:
        super().__init__(spec, d_in)
        self._group_sizes = [high - low for low, high in pairwise([0, *spec.prefixes])]

    def _reconstruct(
        self, acts: Float[Tensor, "batch d_sae"], x: Float[Tensor, "batch d_in"], over: Reduction
    ) -> tuple[Float[Tensor, "batch d_in"], Float[Tensor, ""]]:
        """Return x_hat of all latents, and the mean loss over prefixes; each group of latents is decoded once."""
        x_hat = self.b_dec.expand_as(x)
        losses = []
        for group, rows in zip(acts.split(self._group_sizes, dim=1), self.W_dec.split(self._group_sizes), strict=True):
            x_hat = torch.addmm(x_hat, group, rows)
            losses.append(reconstruction_loss(x_hat, x, over=over))
        return x_hat, torch.stack(losses).mean()
