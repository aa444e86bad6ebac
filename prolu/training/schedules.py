"""What changes over a run: the learning rate, the penalty's coefficient, and when latents are resampled.

Pure functions of the step, so that a resume needs nothing but its number. `step` counts from 0: it is the number of
optimizer steps already done. A resample at step s happens before the s + 1st optimizer step.
"""

from __future__ import annotations

import math

from prolu.spec.sparsity import NoPenalty, SparsitySpec
from prolu.spec.training import TrainingSpec


def learning_rate(step: int, training: TrainingSpec) -> float:
    """Return the peak rate * min(rise, fall) * rise again, each of them 1 outside of its stretch.

    rise = (step + 1) / lr_warmup_steps. fall: u = (steps - step) / lr_decay_steps if linear, (1 - cos(pi u)) / 2 if cosine.
    rise again = (step - r + 1) / resampling.lr_warmup_steps, r the last resample. So the rate would be 0 one step before
    the first, one step before each resample's first and one step after the last, and no step is spent at rate 0.
    """
    fall = _rise(training.steps - step - 1, training.lr_decay_steps)
    if training.lr_decay == "cosine":
        fall = (1 - math.cos(math.pi * fall)) / 2
    factor = min(_rise(step, training.lr_warmup_steps), fall)
    resampled, resampling = last_resample(step, training), training.resampling
    if resampling is not None and resampled is not None:
        factor *= _rise(step - resampled, resampling.lr_warmup_steps)
    return training.optimizer.learning_rate * factor


def penalty_coefficient(step: int, sparsity: SparsitySpec) -> float:
    """Return the spec's lambda * min(1, (step + 1) / warmup_steps), before a controller scales it; 0 if nothing is paid."""
    if isinstance(sparsity, NoPenalty):
        return 0.0
    return sparsity.coefficient * _rise(step, sparsity.warmup_steps)


def last_resample(step: int, training: TrainingSpec) -> int | None:
    """Return the newest step at or before `step` at which latents are resampled: a multiple of every_steps above 0.

    None after until_step, by default steps - every_steps, nor after the last optimizer step, which nothing would follow.
    """
    resampling = training.resampling
    if resampling is None:
        return None
    every = resampling.every_steps
    until = training.steps - every if resampling.until_step is None else resampling.until_step
    newest = min(step, until, training.steps - 1) // every * every
    return newest if newest > 0 else None


def _rise(step: int, ramp_steps: int) -> float:
    """Rise linearly from 1 / ramp_steps at step 0 to 1; without a ramp, 1."""
    return min(1.0, (step + 1) / ramp_steps) if ramp_steps else 1.0
