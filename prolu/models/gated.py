"""The gated autoencoder: one path decides which latents fire, another how strongly.

Source: Rajamanoharan et al. 2024, "Improving dictionary learning with gated sparse autoencoders", arXiv 2404.16014.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from prolu.models.autoencoder import Sae
from prolu.models.nonlinearity import keep_where_positive
from prolu.models.penalties import penalty_for
from prolu.models.reconstruction import Reduction, reconstruction_loss
from prolu.models.terms import Terms
from prolu.spec.sae import GatedSae
from prolu.spec.sparsity import SparsitySpec


class Gated(Sae):
    """acts = 1[pi_gate > 0] * relu(pi_mag), pi_gate = m + b_gate, pi_mag = exp(r_mag) * m + b_mag (section 3.2).

    The two paths share W_enc up to a scale for each latent, exp(r_mag).
    Parameters: b_gate, b_mag and r_mag, all (d_sae,) and zero at the start.
    """

    def __init__(self, spec: GatedSae, d_in: int) -> None:
        super().__init__(spec, d_in)
        self._auxiliary_coefficient = spec.auxiliary_coefficient
        self.b_gate = nn.Parameter(torch.zeros(spec.d_sae))
        self.b_mag = nn.Parameter(torch.zeros(spec.d_sae))
        self.r_mag = nn.Parameter(torch.zeros(spec.d_sae))

    def encode(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_sae"]:
        """Return acts = 1[pi_gate > 0] * relu(pi_mag)."""
        m = self.pre_acts(x)
        return self._acts(m, m + self.b_gate)

    @property
    def gate_bias(self) -> Float[Tensor, " d_sae"]:
        """b_gate; a latent whose gate is open may still be 0, if pi_mag is not positive."""
        return self.b_gate

    def terms(
        self,
        x: Float[Tensor, "batch d_in"],
        *,
        sparsity: SparsitySpec,
        over: Reduction,
        dead: Bool[Tensor, " d_sae"] | None,  # noqa: ARG002 nobody is revived here
    ) -> Terms:
        """Return the terms of the loss (section 3.2, and the pseudo-code of the appendix).

        The penalty is paid by relu(pi_gate), not by the acts. Auxiliary: auxiliary_coefficient times the error of
        reconstructing x from relu(pi_gate) by a detached decoder, W_dec and b_dec both; without it the gates would learn
        only to close, since the step lets no gradient of the reconstruction through to them.

        The paper's penalty knows no decoder norms, its rows are of norm 1. Where a penalty has them (`l1_decoder_norm`,
        `tanh`), they are detached as well: of the decoder frozen in one place and not in the other its authors advise
        against (Rajamanoharan, discussion of the paper on LessWrong).
        """
        m = self.pre_acts(x)
        pi_gate = m + self.b_gate
        acts = self._acts(m, pi_gate)
        x_hat = self.decode(acts)
        gate_acts, W_dec, b_dec = torch.relu(pi_gate), self.W_dec.detach(), self.b_dec.detach()
        by_the_gates = torch.addmm(b_dec, gate_acts, W_dec)
        return Terms(
            acts=acts,
            x_hat=x_hat,
            reconstruction=reconstruction_loss(x_hat, x, over=over),
            penalty=penalty_for(sparsity, gate_acts, W_dec),
            auxiliary=self._auxiliary_coefficient * reconstruction_loss(by_the_gates, x, over=over),
        )

    def _acts(
        self, m: Float[Tensor, "batch d_sae"], pi_gate: Float[Tensor, "batch d_sae"]
    ) -> Float[Tensor, "batch d_sae"]:
        magnitudes = torch.relu(torch.exp(self.r_mag) * m + self.b_mag)
        return keep_where_positive(magnitudes, pi_gate.detach())

    def _in_units_of_acts(self) -> list[Float[Tensor, " d_sae"]]:
        return [self.b_gate, self.b_mag]
