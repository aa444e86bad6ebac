"""Keep decoder rows at norm 1: what happens to their gradient before a step, and to them after it.

Without it the L1 penalty is cheated by small acts and long rows. Source: ProLU post, training; Bricken 2023, Appendix.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


@torch.no_grad()
def remove_parallel_part(gradient: Float[Tensor, "d_sae d_in"], rows: Float[Tensor, "d_sae d_in"]) -> None:
    """Subtract (gradient_i . row_i) row_i from each gradient_i in place; rows have norm 1.

    The step then goes along the sphere, and Adam's moments do not fill with a direction that renormalising undoes.
    """
    along = torch.linalg.vecdot(gradient, rows)
    gradient.addcmul_(rows, along.unsqueeze(1), value=-1)


@torch.no_grad()
def renormalise(rows: Float[Tensor, "d_sae d_in"]) -> None:
    """Divide each row by its norm in place."""
    rows.div_(torch.linalg.vector_norm(rows, dim=1, keepdim=True))
