"""TopK autoencoders: the k largest fire, in each token (Gao et al. 2024) or on average over a batch (Bussmann et al. 2024).

Gao: "Scaling and evaluating sparse autoencoders", arXiv 2406.04093. Bussmann: "BatchTopK sparse autoencoders",
arXiv 2412.06410.

Of equal values at the margin, `torch.topk` chooses: never more than asked for fire, and on the CPU it chooses the same
ones each time. Among ranks that share a batch `prolu.models.ranks.among_the_largest` does, perhaps others of the equal.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from prolu.models.autoencoder import Sae
from prolu.models.nonlinearity import keep_where_positive
from prolu.models.penalties import penalty_for
from prolu.models.ranks import among_the_largest
from prolu.models.reconstruction import Reduction, reconstruction_loss
from prolu.models.terms import Terms
from prolu.spec.sae import BatchTopKSae, MatryoshkaBatchTopKSae, TopKSae
from prolu.spec.sparsity import SparsitySpec


class TopK(Sae):
    """acts = the k largest of relu(z) in each row, z = m + b_enc (Gao 2024, section 2.3); fewer, if fewer are positive."""

    def __init__(self, spec: TopKSae | BatchTopKSae | MatryoshkaBatchTopKSae, d_in: int) -> None:
        super().__init__(spec, d_in)
        self._k = spec.k
        self._aux_k = default_aux_k(d_in, spec.d_sae) if spec.aux_k is None else spec.aux_k
        self._aux_coefficient = spec.aux_coefficient
        self.b_enc = nn.Parameter(torch.zeros(spec.d_sae))

    def encode(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_sae"]:
        """Return the k largest of relu(z) in each row, zeros elsewhere."""
        return self._winners(self._z(x))

    @property
    def gate_bias(self) -> Float[Tensor, " d_sae"]:
        """b_enc: no latent fires where m + b_enc <= 0, though it takes more than that to win."""
        return self.b_enc

    def terms(
        self,
        x: Float[Tensor, "batch d_in"],
        *,
        sparsity: SparsitySpec,
        over: Reduction,
        dead: Bool[Tensor, " d_sae"] | None,
    ) -> Terms:
        """Return the terms of the loss; auxiliary is AuxK."""
        z = self._z(x)
        acts = self._winners(z)
        x_hat, reconstruction = self._reconstruct(acts, x, over)
        return Terms(
            acts=acts,
            x_hat=x_hat,
            reconstruction=reconstruction,
            penalty=penalty_for(sparsity, acts, self.W_dec),
            auxiliary=self._auxk(z, (x - x_hat).detach(), dead, over),
        )

    def fold_decoder_norm(self) -> None:
        """Leave a decoder of unit norm as it is. Raises ValueError for a free one: scaling z changes who wins."""
        if self.spec.decoder_norm == "free":
            raise ValueError(
                f"The decoder norms of a {self.spec.kind} autoencoder cannot be folded: they would change which latents "
                "win. Use it with its norms, or train with decoder_norm: unit."
            )

    def _winners(self, z: Float[Tensor, "batch d_sae"]) -> Float[Tensor, "batch d_sae"]:
        return _largest_of_rows(z, self._k)

    def _reconstruct(
        self, acts: Float[Tensor, "batch d_sae"], x: Float[Tensor, "batch d_in"], over: Reduction
    ) -> tuple[Float[Tensor, "batch d_in"], Float[Tensor, ""]]:
        x_hat = self.decode(acts)
        return x_hat, reconstruction_loss(x_hat, x, over=over)

    def _auxk(
        self,
        z: Float[Tensor, "batch d_sae"],
        error: Float[Tensor, "batch d_in"],
        dead: Bool[Tensor, " d_sae"] | None,
        over: Reduction,
    ) -> Float[Tensor, ""]:
        """Return aux_coefficient * ||e - e_hat||^2, reduced as the reconstruction is; 0 if no latent is dead.

        e = x - x_hat without gradient. e_hat = the aux_k largest relu(z) of the dead latents (all, if they are fewer)
        @ W_dec, without b_dec, which e has lost already. Source: Gao 2024, section 2.4 and appendix A.2; its public code
        divides by the variance of e besides, which is not done here.
        """
        if dead is None or self._aux_k == 0:
            return error.new_zeros(())
        of_the_dead = torch.where(dead, z, torch.zeros_like(z))  # what is 0 adds nothing and gets no gradient
        e_hat = _largest_of_rows(of_the_dead, self._aux_k) @ self.W_dec
        loss = self._aux_coefficient * reconstruction_loss(e_hat, error, over=over)
        return torch.where(dead.any(), loss, torch.zeros_like(loss))

    def _z(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_sae"]:
        return self.pre_acts(x) + self.b_enc

    def _in_units_of_acts(self) -> list[Float[Tensor, " d_sae"]]:
        return [self.b_enc]


class BatchTopK(TopK):
    """Training: acts = the k * batch largest of relu(z) in the whole batch. Inference: acts = relu(z) * 1[z > threshold].

    `threshold` () is the mean over batches of the smallest positive act (Bussmann 2024, section 3), as an exponential
    moving average: batch t = 1, 2, ... has the weight max(10/(t + 9), 1 - threshold_decay). So it starts with the first
    batch, not with 0, and looks back over about a tenth of the run, for acts drift as an autoencoder learns, until that
    is more than the 1/(1 - threshold_decay) batches of the moving average. It is 0 before the first batch.
    `threshold_batches` () is t. Both are buffers: saved with the weights, and trained by no gradient.
    """

    threshold: Tensor
    threshold_batches: Tensor

    def __init__(self, spec: BatchTopKSae | MatryoshkaBatchTopKSae, d_in: int) -> None:
        super().__init__(spec, d_in)
        self._threshold_decay = spec.threshold_decay
        self.register_buffer("threshold", torch.zeros(()))
        self.register_buffer("threshold_batches", torch.zeros((), dtype=torch.int64))

    def encode(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_sae"]:
        """Return acts = relu(z) * 1[z > threshold], whatever else is in the batch; threshold is never negative."""
        z = self._z(x)
        return keep_where_positive(z, (z - self.threshold).detach())

    @property
    def gate_bias(self) -> Float[Tensor, " d_sae"]:
        """b_enc - threshold, the gate of inference."""
        return self.b_enc - self.threshold

    @torch.no_grad()
    def after_step(self, acts: Float[Tensor, "batch d_sae"]) -> None:
        """Take the smallest positive act of a training batch into `threshold`; a batch without any changes nothing."""
        own = torch.where(acts > 0, acts, torch.inf).amin().to(self.threshold.dtype)
        smallest = self.ranks.gather(own).amin()
        any_fired = torch.isfinite(smallest)
        self.threshold_batches.add_(any_fired)
        weight = torch.clamp(10 / (self.threshold_batches + 9), min=1 - self._threshold_decay).to(self.threshold.dtype)
        self.threshold.copy_(torch.where(any_fired, torch.lerp(self.threshold, smallest, weight), self.threshold))

    def _winners(self, z: Float[Tensor, "batch d_sae"]) -> Float[Tensor, "batch d_sae"]:
        """Return the winners of the whole batch; ranks that share one tell each other their largest, which may all win."""
        flat, count = z.flatten(), self._k * len(z) * self.ranks.count
        if self.ranks.count == 1:
            return _largest_of_rows(flat.unsqueeze(0), count).reshape(z.shape)
        values, places = torch.topk(flat, min(count, len(flat)), sorted=False)
        won = among_the_largest(self.ranks, values.detach(), count)
        return torch.zeros_like(flat).scatter_(0, places, keep_where_positive(torch.relu(values), won)).reshape(z.shape)


def default_aux_k(d_in: int, d_sae: int) -> int:
    """Return the power of two nearest to d_in / 2, the upper one of two equally near, at most d_sae.

    512 for the 768 of GPT-2 small, as in Gao 2024, appendix A.2.
    """
    below = 1 << (d_in.bit_length() - 1)  # the power of two at or below d_in
    nearest = below if 2 * d_in < 3 * below else 2 * below
    return min(max(nearest // 2, 1), d_sae)


def _largest_of_rows(z: Float[Tensor, "rows columns"], k: int) -> Float[Tensor, "rows columns"]:
    """Return relu(z) at the k largest of each row, 0 elsewhere. Of the dense tensors autograd keeps none but the result."""
    values, places = torch.topk(z, k, dim=1, sorted=False)
    return torch.zeros_like(z).scatter_(1, places, torch.relu(values))
