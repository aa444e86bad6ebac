"""What all sparse autoencoders here have in common: an encoder, a decoder, and a pass of training. Knows no architecture."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from prolu.models.penalties import penalty_for, row_norms
from prolu.models.projection import project
from prolu.models.ranks import ALONE, Ranks
from prolu.models.reconstruction import Reduction, reconstruction_loss
from prolu.models.terms import Terms
from prolu.spec.sae import SaeSpec
from prolu.spec.sparsity import SparsitySpec


class Sae(nn.Module, ABC):
    """x_hat = acts @ W_dec + b_dec, where acts >= 0 is the architecture's function of m = (x - b_dec) @ W_enc.

    Parameters: W_enc (d_in, d_sae), W_dec (d_sae, d_in), b_dec (d_in,), zero until `build_sae` or `load_sae` fills them,
    and the architecture's own, which begin where its paper lets them begin. `x` is in the space that the run trained in,
    normalised as its spec's `data.normalisation` says, and so is x_hat.

    `ranks` are the workers that share each batch of training with this one; by default there are none. No state of the
    module: whoever trains says so.
    """

    def __init__(self, spec: SaeSpec, d_in: int) -> None:
        super().__init__()
        self.spec = spec
        self.d_in = d_in
        self.d_sae = spec.d_sae
        self.ranks: Ranks = ALONE
        self.W_enc = nn.Parameter(torch.zeros(d_in, spec.d_sae))
        self.W_dec = nn.Parameter(torch.zeros(spec.d_sae, d_in))
        self.b_dec = nn.Parameter(torch.zeros(d_in))

    def pre_acts(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_sae"]:
        """Return m = (x - b_dec) @ W_enc, without any bias of the latents."""
        return project(x, self.b_dec, self.W_enc)

    @abstractmethod
    def encode(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_sae"]:
        """Return the acts of inference, never negative; those of a row do not depend on the other rows."""

    def decode(self, acts: Float[Tensor, "batch d_sae"]) -> Float[Tensor, "batch d_in"]:
        """Return x_hat = acts @ W_dec + b_dec."""
        return torch.addmm(self.b_dec, acts, self.W_dec)

    def forward(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_in"]:
        """Return the reconstruction x_hat of inference."""
        return self.decode(self.encode(x))

    @property
    @abstractmethod
    def gate_bias(self) -> Float[Tensor, " d_sae"]:
        """b with "a latent can fire iff m + b > 0", in units of m."""

    def terms(
        self,
        x: Float[Tensor, "batch d_in"],
        *,
        sparsity: SparsitySpec,
        over: Reduction,
        dead: Bool[Tensor, " d_sae"] | None,  # noqa: ARG002 of use to the architectures that revive latents
    ) -> Terms:
        """Return the terms of the loss on a batch; see `prolu.models.objective`. Reads nothing back from the device.

        This one is for an architecture whose training pass is that of inference.
        """
        acts = self.encode(x)
        x_hat = self.decode(acts)
        return Terms(
            acts=acts,
            x_hat=x_hat,
            reconstruction=reconstruction_loss(x_hat, x, over=over),
            penalty=penalty_for(sparsity, acts, self.W_dec),
            auxiliary=x.new_zeros(()),
        )

    def after_step(self, acts: Float[Tensor, "batch d_sae"]) -> None:
        """Update the state that is no parameter from the acts of a training pass; call it once after each step, on all ranks."""

    @torch.no_grad()
    def fold_decoder_norm(self) -> None:
        """Rescale W_dec's rows to norm 1, and all that acts depend on by the same factors, so that x_hat stays as it is.

        acts_i become acts_i * ||W_dec_i||. Every latent here is positively homogeneous: scaling m_i and its own biases and
        thresholds scales acts_i and moves no gate. A row of norm 0 stays.
        """
        norms = row_norms(self.W_dec)
        norms = torch.where(norms > 0, norms, torch.ones_like(norms))
        self.W_dec.div_(norms.unsqueeze(1))
        self.W_enc.mul_(norms)
        for own in self._in_units_of_acts():
            own.mul_(norms)

    @abstractmethod
    def _in_units_of_acts(self) -> list[Float[Tensor, " d_sae"]]:
        """Return the parameters of single latents that scale with their acts: biases, thresholds."""

    def extra_repr(self) -> str:
        """Say the kind and the shape when printed."""
        return f"{self.spec.kind}, d_in={self.d_in}, d_sae={self.d_sae}"
