"""The gate's biases at the last two snapshots, so that a snapshot can say what changed, after a resume too."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor


class BiasMemory:
    """The biases of the newest snapshot and of the one before, in this order, with their steps; step -1 is none.

    Two are kept because the newest may have been taken at the very step of a checkpoint: whoever computes its statistics
    again from that checkpoint compares with the one before.
    """

    def __init__(self, d_sae: int, device: torch.device) -> None:
        self._b: Float[Tensor, "2 d_sae"] = torch.zeros(2, d_sae, device=device)
        self._step: Int64[Tensor, " 2"] = torch.full((2,), -1)  # on the CPU, where reading it waits for nobody

    def before(self, step: int) -> tuple[int, Float[Tensor, " d_sae"]] | None:
        """Return step and biases of the newest snapshot before `step`, if there is one."""
        for taken, b in zip(self._step.tolist(), self._b, strict=True):
            if 0 <= taken < step:
                return taken, b
        return None

    @torch.no_grad()
    def remember(self, b: Float[Tensor, " d_sae"], step: int) -> None:
        """Take in a new snapshot; the oldest is forgotten."""
        self._b = torch.stack([b, self._b[0]])
        self._step = torch.tensor([step, int(self._step[0])])

    def tensors(self) -> dict[str, Tensor]:
        """Return both snapshots and their steps by name, not copies."""
        return {"snapshot_b": self._b, "snapshot_step": self._step}
