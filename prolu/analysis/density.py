"""How often latents fire: frequencies over a held-out set, and their histogram on one scale for all runs.

The frequency of a latent is the share of tokens on which its act is not zero.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from prolu.data.source import ActivationSource
from prolu.models.sae import Sae
from prolu.spec.report import Histogram

# log10 of a frequency, in quarters of a decade, the same for every run so that histograms compare.
LOG_FREQUENCY_EDGES = np.arange(-32, 1) / 4
_LEAST = 1e-8


def density_histogram(frequencies: Float[Tensor, " d_sae"]) -> Histogram:
    """Count latents by log10 of their firing frequency, from -8 to 0 in steps of 0.25.

    What fires less often than 1e-8, never too, counts as 1e-8.
    """
    counts, _ = np.histogram(log_frequencies(frequencies), bins=LOG_FREQUENCY_EDGES)
    return Histogram(edges=LOG_FREQUENCY_EDGES.tolist(), counts=counts.tolist())


def log_frequencies(frequencies: Float[Tensor, " d_sae"]) -> npt.NDArray[np.float64]:
    """Return log10 of each frequency, from -8 to 0; a frequency that rounding lifted above 1 counts as 1."""
    numbers: npt.NDArray[np.float64] = frequencies.detach().double().clamp(_LEAST, 1.0).log10().cpu().numpy()
    return numbers


@torch.no_grad()
def firing_frequencies(sae: Sae, source: ActivationSource, *, batch_size: int = 4_096) -> Float[Tensor, " d_sae"]:
    """Return how often each latent fires over the whole evaluation set, float64 on the device of the SAE.

    Raises ValueError if the evaluation set is empty.
    """
    device = sae.W_enc.device
    tokens = 0
    counts = torch.zeros(sae.d_sae, dtype=torch.int64, device=device)
    for batch in source.evaluation(batch_size):
        counts += torch.count_nonzero(sae.encode(batch.to(device)), dim=0)
        tokens += len(batch)
    if tokens == 0:
        raise ValueError("There are no activations to count firings on; give at least one.")
    return counts.double() / tokens
