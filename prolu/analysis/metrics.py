"""One formula per metric, over any number of batches. Knows no model and no source.

All metrics are in the space that the SAE is trained in, that is, after the normalisation of the data.

    l0             mean over tokens of the number of acts that are not zero
    l1             mean over tokens of the sum of acts
    mse            sum ||x - x_hat||^2 / (tokens * d_in)
    fvu            sum ||x - x_hat||^2 / sum ||x - mean(x)||^2, mean(x) over all tokens that were added;
                   predicting the mean gives 1, a perfect reconstruction 0
    dead_fraction  share of latents that did not fire on the last `dead_window_tokens` training activations
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor


class MetricSums:
    """The sums behind l0, l1, mse and fvu, in float64 on the device of the data; numerator and denominator are summed apart.

    The sum of squares about the mean is merged batch by batch (Chan, Golub, LeVeque 1979), which loses no digits when
    the mean is large beside the spread.
    """

    def __init__(self, d_in: int, *, device: torch.device | str = "cpu") -> None:
        self._tokens = 0
        self._d_in = d_in
        self._mean = torch.zeros(d_in, dtype=torch.float64, device=device)
        zero = torch.zeros((), dtype=torch.float64, device=device)
        self._active_count, self._active_sum, self._squared_error, self._squared_deviation = zero, zero, zero, zero

    @torch.no_grad()
    def add(
        self,
        x: Float[Tensor, "batch d_in"],
        x_hat: Float[Tensor, "batch d_in"],
        acts: Float[Tensor, "batch d_sae"],
    ) -> None:
        """Take one batch into the sums, without waiting for the device."""
        x, x_hat = x.double(), x_hat.double()
        self._active_count = self._active_count + torch.count_nonzero(acts)
        self._active_sum = self._active_sum + acts.sum(dtype=torch.float64)
        self._squared_error = self._squared_error + (x - x_hat).square().sum()

        count, tokens = len(x), self._tokens + len(x)
        batch_mean = x.mean(dim=0)
        shift = batch_mean - self._mean
        within = (x - batch_mean).square().sum()
        between = shift.square().sum() * (self._tokens * count / tokens)
        self._squared_deviation = self._squared_deviation + within + between
        self._mean = self._mean + shift * (count / tokens)
        self._tokens = tokens

    def values(self) -> dict[str, float]:
        """Return l0, l1, mse and fvu of everything added; `fvu` is left out where x does not vary, since it has no value.

        Raises ValueError if nothing was added.
        """
        if self._tokens == 0:
            raise ValueError("There are no activations to compute metrics of; give at least one.")
        sums = torch.stack([self._active_count, self._active_sum, self._squared_error, self._squared_deviation])
        active_count, active_sum, squared_error, squared_deviation = sums.tolist()
        values = {
            "l0": active_count / self._tokens,
            "l1": active_sum / self._tokens,
            "mse": squared_error / (self._tokens * self._d_in),
        }
        if squared_deviation != 0:
            values["fvu"] = squared_error / squared_deviation
        return values


def dead_latents(tokens_since_fired: Int64[Tensor, " d_sae"], *, window: int) -> Bool[Tensor, " d_sae"]:
    """Return which latents have not fired on the last `window` training activations."""
    return tokens_since_fired >= window


def dead_fraction(tokens_since_fired: Int64[Tensor, " d_sae"], *, window: int) -> float:
    """Return the share of latents that have not fired on the last `window` training activations."""
    return dead_latents(tokens_since_fired, window=window).double().mean().item()
