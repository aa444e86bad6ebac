"""How much of a language model's prediction survives an autoencoder's reconstruction. Knows no model in particular."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from prolu.data.source import SplicedModel
from prolu.models.normalisation import Normaliser
from prolu.models.sae import Sae


@torch.no_grad()
def cross_entropy_metrics(sae: Sae, spliced: SplicedModel, normaliser: Normaliser) -> dict[str, float]:
    """Return ce_clean, ce_sae, ce_zero_ablation, kl (nats per predicted token) and ce_loss_score on the held-out text.

        ce_loss_score = (ce_zero_ablation - ce_sae) / (ce_zero_ablation - ce_clean)

    A perfect reconstruction scores 1, zeros score 0, what is worse than zeros less. The score is left out where it has no value:
    ablation changes nothing. The model's activations are normalised as in training, and the reconstruction is brought back to
    their scale, with each row's own. The other formulas are those of `prolu.data.splicing`.
    """

    def reconstruct(x: Float[Tensor, "rows d_in"]) -> Float[Tensor, "rows d_in"]:
        raw = x.to(sae.W_enc.device)
        x_hat = sae.decode(sae.encode(normaliser.normalise(raw)))
        return normaliser.denormalise(x_hat, normaliser.scales(raw)).to(x.device)

    losses = spliced.losses(reconstruct)
    values = {
        "ce_clean": losses.ce_clean,
        "ce_sae": losses.ce_sae,
        "ce_zero_ablation": losses.ce_zero_ablation,
        "kl": losses.kl,
    }
    if losses.ce_zero_ablation != losses.ce_clean:
        values["ce_loss_score"] = (losses.ce_zero_ablation - losses.ce_sae) / (
            losses.ce_zero_ablation - losses.ce_clean
        )
    return values
