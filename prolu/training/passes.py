"""The pass of training as the spec wants it run: under autocast, compiled, or as it is. Knows no optimizer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from prolu.models.objective import Terms, objective
from prolu.models.ranks import ALONE, Ranks
from prolu.models.sae import Sae
from prolu.spec.run import RunSpec

Pass = Callable[[Sae, Tensor, Tensor | None], Terms]


def training_pass(spec: RunSpec, device: torch.device, *, backend: str = "inductor", ranks: Ranks = ALONE) -> Pass:
    """Return the function (sae, x, dead) -> terms of the loss, which is `prolu.models.objective.objective`.

    With precision bfloat16 matrix products run in bfloat16 by torch's autocast; weights, thresholds and loss are float32.
    With compile it runs through torch.compile and `backend`, equal up to rounding; an architecture that revives latents
    is compiled once for `dead` None and once for a tensor. It is compiled whole, except where ranks exchange amid it.
    """
    sparsity, over = spec.sparsity, spec.training.reconstruction

    def plain(sae: Sae, x: Float[Tensor, "batch d_in"], dead: Bool[Tensor, " d_sae"] | None) -> Terms:
        with torch.autocast(device.type, torch.bfloat16, enabled=spec.training.precision == "bfloat16"):
            return objective(sae, x, sparsity=sparsity, over=over, dead=dead)

    if not spec.training.compile:
        return plain
    # Of one process's many runs, each has its own compiled code; shared, it would count as recompiled and be given up.
    own_code: dict[str, Any] = {"isolate_recompiles": True}  # torch's overloads do not name it
    compiled: Pass = torch.compile(plain, fullgraph=ranks.count == 1, dynamic=False, backend=backend, **own_code)
    return compiled
