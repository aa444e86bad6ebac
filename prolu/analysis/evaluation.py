"""Measure an autoencoder on the held-out data of a source: its activations, its language model, its dictionary."""

from __future__ import annotations

import torch

from prolu.analysis.cross_entropy import cross_entropy_metrics
from prolu.analysis.metrics import MetricSums
from prolu.analysis.recovery import recovery_metrics
from prolu.data.source import ActivationSource
from prolu.models.sae import Sae


@torch.no_grad()
def evaluate(sae: Sae, source: ActivationSource, *, batch_size: int = 4_096) -> dict[str, float]:
    """Return the held-out metrics, by the formulas of the modules named here.

    Always l0, l1, mse, fvu, cosine and shrinkage over the whole evaluation set (`prolu.analysis.metrics`), in the space that
    the SAE is trained in. Of a source with a language model also ce_clean, ce_sae, ce_zero_ablation, ce_loss_score and kl
    (`prolu.analysis.cross_entropy`); of one with a known dictionary mmcs and recovered_fraction (`prolu.analysis.recovery`).
    A metric that has no value on this data is left out.

    `batch_size` only bounds the memory. Raises ValueError if the evaluation set is empty. What the source raises is passed
    on, so a source that listens can end an evaluation between two batches.
    """
    device = sae.W_enc.device
    sums = MetricSums(source.d_in, device=device)
    for batch in source.evaluation(batch_size):
        x = batch.to(device)
        acts = sae.encode(x)
        sums.add(x, sae.decode(acts), acts)
    values = sums.values()
    if source.spliced is not None:
        values |= cross_entropy_metrics(sae, source.spliced, source.normaliser)
    if source.dictionary is not None:
        values |= recovery_metrics(sae.W_dec, source.dictionary)
    return values
