"""lambda, the weight of the penalty at each step, and the controller that steers it to a target l0. Knows no model."""

from __future__ import annotations

import math
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from prolu.spec.run import RunSpec
from prolu.spec.sparsity import L0Controller, NoPenalty
from prolu.training.schedules import last_resample, penalty_coefficient

LOG_SCALE_BOUND: Final = math.log(1e4)
"""How far the controller moves lambda either way: an l0 out of reach leaves it at a bound, not at infinity or 0."""


class Coefficient:
    """lambda = `penalty_coefficient` * exp(log_scale), as float64 on the device; nothing here waits for it.

    With a controller, log_scale += rate * clamp(log(l0 / target_l0), -1, 1), and is then held within +-LOG_SCALE_BOUND,
    after each step that was trained at full coefficient (so not during the penalty's warm-up) and not among the
    `pause_steps` that follow a resample. Without one log_scale stays 0. l0 is the mean number
    of active latents per token of the step's batch.
    """

    def __init__(self, spec: RunSpec, device: torch.device) -> None:
        self._sparsity = spec.sparsity
        self._training = spec.training
        self._controller = None if isinstance(spec.sparsity, NoPenalty) else spec.sparsity.controller
        self._log_scale = torch.zeros((), dtype=torch.float64, device=device)

    def at(self, step: int) -> Float[Tensor, ""]:
        """Return lambda for the batch of `step`, counted from 0."""
        return self._log_scale.exp().mul_(penalty_coefficient(step, self._sparsity))

    @torch.no_grad()
    def observe(self, l0: Float[Tensor, ""], step: int) -> None:
        """Let the controller, if there is one, answer the l0 that the batch of `step` had."""
        controller = self._controller
        if controller is not None and self._active(controller, step):
            off = (l0.double() / controller.target_l0).log_().clamp_(-1, 1)
            self._log_scale.add_(off, alpha=controller.rate).clamp_(-LOG_SCALE_BOUND, LOG_SCALE_BOUND)

    def tensors(self) -> dict[str, Tensor]:
        """Return the controller's state by name, not a copy; nothing if there is no controller."""
        return {} if self._controller is None else {"controller_log_scale": self._log_scale}

    def _active(self, controller: L0Controller, step: int) -> bool:
        resampled = last_resample(step, self._training)
        paused = resampled is not None and step - resampled < controller.pause_steps
        warm = isinstance(self._sparsity, NoPenalty) or step + 1 >= self._sparsity.warmup_steps
        return warm and not paused
