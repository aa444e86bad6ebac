"""When each latent last fired, and how often it fires. Knows no weights; nothing here waits for the device."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from prolu.analysis.metrics import dead_latents


class Firing:
    """Counters over the activations that training has read.

    `tokens_since_fired`: activations since the latent fired, in whole batches; 0 if it fired in the last one.
    `frequency`: after step t = 0, 1, ... f += (share - f) * max(1 / (t + 1), min(1, batch / dead_window_tokens)), where
    share is that of the batch's tokens on which the latent fired: a running mean that becomes an exponential moving
    average once the window is full.
    """

    def __init__(self, d_sae: int, *, dead_window_tokens: int, device: torch.device) -> None:
        self.tokens_since_fired: Int64[Tensor, " d_sae"] = torch.zeros(d_sae, dtype=torch.int64, device=device)
        self.frequency: Float[Tensor, " d_sae"] = torch.zeros(d_sae, device=device)
        self._window = dead_window_tokens

    @property
    def dead(self) -> Bool[Tensor, " d_sae"]:
        """Latents that did not fire on the last `dead_window_tokens` activations."""
        return dead_latents(self.tokens_since_fired, window=self._window)

    @torch.no_grad()
    def count(self, fired: Float[Tensor, " d_sae"], batch: int, step: int) -> Float[Tensor, ""]:
        """Take in the `batch` tokens of `step`, counted from 0, of which each latent fired on so many.

        Returns the l0 of the batch, the mean number of active latents per token.
        """
        self.tokens_since_fired.add_(batch).masked_fill_(fired > 0, 0)
        self.frequency.lerp_(fired / batch, max(1 / (step + 1), min(1.0, batch / self._window)))
        return fired.sum() / batch

    def tensors(self) -> dict[str, Tensor]:
        """Return the counters by name, not copies."""
        return {"tokens_since_fired": self.tokens_since_fired, "firing_frequency": self.frequency}


@torch.no_grad()
def tokens_fired_on(acts: Float[Tensor, "batch d_sae"]) -> Float[Tensor, " d_sae"]:
    """Return on how many tokens each latent fired, exact up to 2^24 of them; acts are never negative."""
    return acts.sign().sum(dim=0, dtype=torch.float32)
