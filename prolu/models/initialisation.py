"""Where b_dec starts: at zero, or amid the data. The rest of a new autoencoder is `build_sae`'s, which needs no data."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from prolu.models.autoencoder import Sae


@torch.no_grad()
def initialise_b_dec(sae: Sae, samples: Float[Tensor, "samples d_in"]) -> None:
    """Set b_dec to what the spec's `b_dec_init` says of `samples`, activations in the space that the run trains in."""
    match sae.spec.b_dec_init:
        case "zero":
            sae.b_dec.zero_()
        case "mean":
            sae.b_dec.copy_(samples.double().mean(dim=0))
        case "geometric_median":
            sae.b_dec.copy_(geometric_median(samples))


@torch.no_grad()
def geometric_median(
    samples: Float[Tensor, "samples d_in"], *, tolerance: float = 1e-6, most_steps: int = 1_000
) -> Float[Tensor, " d_in"]:
    """Return the point whose summed distance to the samples is least, in float64, by Weiszfeld's iteration from the mean.

    y <- (sum_i x_i / ||x_i - y||) / (sum_i 1 / ||x_i - y||). Where y is a sample itself, it moves there only as far as
    the pull R = sum_i (x_i - y) / ||x_i - y|| of the others exceeds the number c of samples at y:
    y <- y + max(0, 1 - c / ||R||) * (Weiszfeld's step of the others). Ends with a step shorter than `tolerance` times the
    mean distance, or after `most_steps`: near a sample that is the median the steps shrink slowly, and are as good.

    Source: Weiszfeld 1937; Vardi and Zhang 2000, "The multivariate L1-median and associated data depth".
    """
    points = samples.double()
    median = points.mean(dim=0)
    for _ in range(most_steps):
        away = points - median
        distances = torch.linalg.vector_norm(away, dim=1)
        elsewhere = distances > 0
        weights = torch.where(elsewhere, 1 / distances, 0.0)
        pull = weights @ away
        here = (~elsewhere).sum()
        if torch.linalg.vector_norm(pull) <= here:
            break
        step = (1 - here / torch.linalg.vector_norm(pull)) * pull / weights.sum()
        median = median + step
        if torch.linalg.vector_norm(step) < tolerance * distances.mean():
            break
    return median
