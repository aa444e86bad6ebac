"""One formula per metric, over any number of batches. Knows no model and no source.

All metrics are in the space that the SAE is trained in, that is, after the normalisation of the data.

    l0             mean over tokens of the number of acts that are not zero
    l1             mean over tokens of the sum of acts
    mse            sum ||x - x_hat||^2 / (tokens * d_in)
    fvu            sum ||x - x_hat||^2 / sum ||x - mean(x)||^2, mean(x) over all tokens that were added;
                   predicting the mean gives 1, a perfect reconstruction 0
    cosine         mean over tokens of x . x_hat / (||x|| ||x_hat||), 0 for a token where either is the zero vector
    shrinkage      gamma = sum ||x_hat||^2 / sum x . x_hat, which is the g that makes sum ||x_hat / g - x||^2 least.
                   1: the reconstructions have the best length; below 1: they are too short, by that factor, as L1 makes
                   them; above 1: too long. The relative reconstruction bias of Rajamanoharan 2024 (arXiv 2404.16014, eq. 10)
    dead_fraction  share of latents that did not fire on the last `dead_window_tokens` training activations; left out
                   until training has read that many, since nobody can be known to be dead before
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from prolu.models.ranks import Ranks


class MetricSums:
    """The sums behind l0, l1, mse, fvu, cosine and shrinkage, in float64 on the device of the data.

    Numerators and denominators are summed apart. The sum of squares about the mean is merged batch by batch
    (Chan, Golub, LeVeque 1979), which loses no digits when the mean is large beside the spread.
    """

    def __init__(self, d_in: int, *, device: torch.device | str = "cpu") -> None:
        self._tokens = 0
        self._d_in = d_in
        self._mean = torch.zeros(d_in, dtype=torch.float64, device=device)
        zero = torch.zeros((), dtype=torch.float64, device=device)
        self._active_count, self._active_sum, self._squared_error, self._squared_deviation = zero, zero, zero, zero
        self._cosines, self._squared_x_hat, self._x_dot_x_hat = zero, zero, zero

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
        self._add_directions(x, x_hat)
        self._add_deviations(x)

    @torch.no_grad()
    def pool(self, ranks: Ranks) -> None:
        """Take in what the other ranks have added, each as many tokens, so that all have the sums over everything."""
        if ranks.count == 1:
            return
        own = torch.stack([*self._plain_sums(), self._squared_deviation])
        self._active_count, self._active_sum, self._squared_error, *others = ranks.gather(own).sum(dim=0).unbind()
        self._cosines, self._squared_x_hat, self._x_dot_x_hat, within = others
        means = ranks.gather(self._mean)
        self._mean = means.mean(dim=0)
        self._squared_deviation = within + (means - self._mean).square().sum() * self._tokens
        self._tokens *= ranks.count

    def values(self) -> dict[str, float]:
        """Return l0, l1, mse, fvu, cosine and shrinkage of everything added.

        `fvu` is left out where x does not vary, and `shrinkage` where sum x . x_hat is 0, since they have no value there.
        Raises ValueError if nothing was added.
        """
        if self._tokens == 0:
            raise ValueError("There are no activations to compute metrics of; give at least one.")
        active_count, active_sum, squared_error, cosines, squared_x_hat, x_dot_x_hat, squared_deviation = torch.stack(
            [*self._plain_sums(), self._squared_deviation]
        ).tolist()
        values = {
            "l0": active_count / self._tokens,
            "l1": active_sum / self._tokens,
            "mse": squared_error / (self._tokens * self._d_in),
            "cosine": cosines / self._tokens,
        }
        if squared_deviation != 0:
            values["fvu"] = squared_error / squared_deviation
        if x_dot_x_hat != 0:
            values["shrinkage"] = squared_x_hat / x_dot_x_hat
        return values

    def _plain_sums(self) -> list[Tensor]:
        """Those that add up; the squared deviation does not, since every mean is another."""
        sums = [self._active_count, self._active_sum, self._squared_error]
        return [*sums, self._cosines, self._squared_x_hat, self._x_dot_x_hat]

    def _add_directions(self, x: Float[Tensor, "batch d_in"], x_hat: Float[Tensor, "batch d_in"]) -> None:
        dots = torch.linalg.vecdot(x, x_hat)
        norms: Tensor = torch.linalg.vector_norm(x, dim=1)
        norms_hat: Tensor = torch.linalg.vector_norm(x_hat, dim=1)
        product = norms * norms_hat
        self._cosines = self._cosines + (dots / product.masked_fill(product == 0, 1.0)).sum()
        self._squared_x_hat = self._squared_x_hat + norms_hat.square().sum()
        self._x_dot_x_hat = self._x_dot_x_hat + dots.sum()

    def _add_deviations(self, x: Float[Tensor, "batch d_in"]) -> None:
        count, tokens = len(x), self._tokens + len(x)
        batch_mean = x.mean(dim=0)
        shift = batch_mean - self._mean
        within = (x - batch_mean).square().sum()
        between = shift.square().sum() * (self._tokens * count / tokens)
        self._squared_deviation = self._squared_deviation + within + between
        self._mean = self._mean + shift * (count / tokens)
        self._tokens = tokens


def dead_latents(tokens_since_fired: Int64[Tensor, " d_sae"], *, window: int) -> Bool[Tensor, " d_sae"]:
    """Return which latents have not fired on the last `window` training activations."""
    return tokens_since_fired >= window


def dead_fraction(tokens_since_fired: Int64[Tensor, " d_sae"], *, window: int) -> float:
    """Return the share of latents that have not fired on the last `window` training activations."""
    return dead_latents(tokens_since_fired, window=window).double().mean().item()
