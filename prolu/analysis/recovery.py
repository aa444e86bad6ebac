"""How much of a known dictionary an autoencoder's decoder holds. Knows no source: it compares two sets of directions.

With features d_i and decoder rows w_j,

    c_i                 = max_j  d_i . w_j / (||d_i|| ||w_j||)
    mmcs                = mean_i c_i, the mean max cosine similarity
    recovered_fraction  = mean_i 1[c_i > 0.9]

Cosines keep their sign: acts are not negative, so a decoder row that points away from a feature does not hold it. Normalisation
by positive scales turns no direction, so both are compared as they are. Source: Sharkey, Braun and Millidge, "Taking features
out of superposition with sparse autoencoders" (AlignmentForum, 2022), who recover features by mean max cosine similarity.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

RECOVERED_ABOVE = 0.9
# Cosines held at once: 64 MiB in float32.
_MOST_COSINES = 1 << 24


@torch.no_grad()
def recovery_metrics(
    W_dec: Float[Tensor, "d_sae d_in"], dictionary: Float[Tensor, "n_features d_in"]
) -> dict[str, float]:
    """Return `mmcs` and `recovered_fraction` of `dictionary` in the rows of `W_dec`.

    A row of zeros, as of a latent that was never alive, has cosine 0 with everything. Computes on the device of `W_dec`, in
    float32, a bounded number of cosines at a time.
    """
    rows, features = _directions(W_dec), _directions(dictionary.to(W_dec.device))
    chunk = max(1, _MOST_COSINES // len(rows))
    best = torch.cat([(some @ rows.T).amax(dim=1) for some in features.split(chunk)]).double()
    return {"mmcs": best.mean().item(), "recovered_fraction": (best > RECOVERED_ABOVE).double().mean().item()}


def _directions(rows: Float[Tensor, "rows d_in"]) -> Float[Tensor, "rows d_in"]:
    """Scale each row to norm 1; rows of zeros stay zero."""
    rows = rows.float()
    norms: Tensor = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return rows / norms.masked_fill(norms == 0, 1.0)
