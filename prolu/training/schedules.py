"""How the learning rate and the penalty's coefficient change over a run: pure functions of the step.

`step` counts from 0: it is the number of optimizer steps already done.
"""

from __future__ import annotations

from prolu.spec.sparsity import SparsitySpec
from prolu.spec.training import TrainingSpec


def learning_rate(step: int, training: TrainingSpec) -> float:
    """Return the peak rate times min(1, (step + 1) / lr_warmup_steps, (steps - step) / lr_decay_steps).

    So the rate would be 0 one step before the first and one step after the last, and no step is spent at rate 0.
    """
    factor = min(
        _rise(step, training.lr_warmup_steps),
        _rise(training.steps - step - 1, training.lr_decay_steps),
    )
    return training.optimizer.learning_rate * factor


def penalty_coefficient(step: int, sparsity: SparsitySpec) -> float:
    """Return lambda times min(1, (step + 1) / warmup_steps)."""
    return sparsity.coefficient * _rise(step, sparsity.warmup_steps)


def _rise(step: int, ramp_steps: int) -> float:
    """Rise linearly from 1 / ramp_steps at step 0 to 1; without a ramp, 1."""
    return min(1.0, (step + 1) / ramp_steps) if ramp_steps else 1.0
