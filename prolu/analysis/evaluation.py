"""Measure an autoencoder on the held-out activations of a source."""

from __future__ import annotations

import torch

from prolu.analysis.metrics import MetricSums
from prolu.data.source import ActivationSource
from prolu.models.sae import Sae


@torch.no_grad()
def evaluate(sae: Sae, source: ActivationSource, *, batch_size: int = 4_096) -> dict[str, float]:
    """Return l0, l1, mse and fvu over the whole evaluation set, in the space that the SAE is trained in.

    `batch_size` only bounds the memory. Raises ValueError if the evaluation set is empty.
    """
    device = sae.W_enc.device
    sums = MetricSums(source.d_in, device=device)
    for batch in source.evaluation(batch_size):
        x = batch.to(device)
        acts = sae.encode(x)
        sums.add(x, sae.decode(acts), acts)
    return sums.values()
