"""The gradient of `prolu_hybrid`: that of an estimator where ProLU acts, the true one where ReLU does."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from prolu.models.gradients_function import GradientRule
from prolu.models.gradients_on_gate import relu_exact


@dataclass(frozen=True)
class HybridRule:
    """Where b < 0 the estimator's gradients, where b >= 0 those of relu(m + b), g * T(m + b) for both.

    Keeps what the estimator keeps, and b, a row. Source: a question under the ProLU post.
    """

    estimator: GradientRule

    @property
    def is_zero_off_gate(self) -> bool:
        """As the estimator: ReLU's own gradient is zero off its gate."""
        return self.estimator.is_zero_off_gate

    def keep(self, m: Tensor, b: Tensor, acts: Tensor) -> tuple[Tensor, ...]:
        """Return acts, b, and whatever else the estimator needs."""
        _, *others = self.estimator.keep(m, b, acts)
        return acts, b, *others

    def gradients(self, g: Tensor, kept: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Return the gradients for m and for b, both rules computed and each used in its own columns."""
        acts, b, *others = kept
        for_m, for_b = self.estimator.gradients(g, (acts, *others))
        relu_for_m, relu_for_b = relu_exact().gradients(g, (acts,))
        is_prolu = b < 0
        return torch.where(is_prolu, for_m, relu_for_m), torch.where(is_prolu, for_b, relu_for_b)
