"""What a step of training minimises. Each architecture's own file has its terms; this one says what they promise."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor

from prolu.models.autoencoder import Sae
from prolu.models.reconstruction import Reduction
from prolu.models.terms import Terms
from prolu.spec.sparsity import SparsitySpec

__all__ = ["Terms", "objective"]


def objective(
    sae: Sae,
    x: Float[Tensor, "batch d_in"],
    *,
    sparsity: SparsitySpec,
    over: Reduction,
    dead: Bool[Tensor, " d_sae"] | None,
) -> Terms:
    """Return the terms of loss = reconstruction + coefficient * penalty + auxiliary for a batch, ready for `backward`.

    `over` says how the squared error is reduced over d_in (`reconstruction_loss`), in `auxiliary` too. `dead` are the
    latents that AuxK revives; None says that none can be dead yet, and spares the time that AuxK takes even for none.
    Changes nothing: what an architecture remembers of a batch it takes in `sae.after_step`. Nothing here waits for the
    device: no value is read back, and no shape depends on one.
    """
    return sae.terms(x, sparsity=sparsity, over=over, dead=dead)
