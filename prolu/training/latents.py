"""Which entries of a parameter belong to which latent. Knows the names of parameters, not what they do."""

from __future__ import annotations

from jaxtyping import Int64
from torch import Tensor

Index = tuple[Tensor | slice, ...]


def entries_of(name: str, latents: Int64[Tensor, " latents"]) -> Index | None:
    """Return the index of `latents` in the parameter `name`, or in anything of its shape; None of b_dec, which has none.

    W_enc (d_in, d_sae) has a latent in each column, W_dec (d_sae, d_in) and every vector (d_sae,) in each row.
    """
    if name == "b_dec":
        return None
    return (slice(None), latents) if name == "W_enc" else (latents,)
