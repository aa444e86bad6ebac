"""How long, how fast, and what is written on the way."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from prolu.spec.base import Integer, Number, Spec, refusal


class AdamSpec(Spec):
    """Adam without weight decay, the optimizer of the post."""

    kind: Literal["adam"] = "adam"
    """Tag of the union."""
    learning_rate: Annotated[Number, Field(gt=0)] = 1e-3
    """Peak learning rate. Default 1e-3, the author's final runs."""
    beta1: Annotated[Number, Field(ge=0, lt=1)] = 0.9
    """Decay of the first moment. Default 0.9, torch's."""
    beta2: Annotated[Number, Field(ge=0, lt=1)] = 0.999
    """Decay of the second moment. Default 0.999, torch's."""
    epsilon: Annotated[Number, Field(gt=0)] = 1e-8
    """Added to the denominator. Default 1e-8, torch's."""


class TrainingSpec(Spec):
    """The training loop: steps, optimizer, schedule, and how often to report."""

    steps: Annotated[Integer, Field(ge=1, le=1_000_000_000)]
    """Optimizer steps; the run reads steps * batch_size activations."""
    batch_size: Annotated[Integer, Field(ge=1, le=1_048_576)] = 4_096
    """Activations per step. Default 4096, the author's final runs."""
    optimizer: AdamSpec = AdamSpec()
    """The optimizer and its learning rate. Default Adam, the post's."""
    reconstruction: Literal["mean", "sum"] = "mean"
    """Squared error averaged over batch and d_in (the default, the post's), or summed over d_in: lambda rescales by d_in."""
    lr_warmup_steps: Annotated[Integer, Field(ge=0, lt=2**63)] = 0
    """Steps over which the learning rate rises linearly from 0 to its peak. Default 0."""
    lr_decay_steps: Annotated[Integer, Field(ge=0, lt=2**63)] = 0
    """Last steps, over which the learning rate falls linearly to 0. Default 0."""
    seed: Annotated[Integer, Field(ge=0, lt=2**63)] = 0
    """Seed of the initial weights. Default 0."""
    dead_window_tokens: Annotated[Integer, Field(ge=1, lt=2**63)] = 1_000_000
    """A latent that has not fired on this many activations counts as dead. Default 1e6."""
    metrics_every_steps: Annotated[Integer, Field(ge=1, lt=2**63)] = 50
    """Steps between two points of the training metrics. Default 50."""
    evaluate_every_steps: Annotated[Integer, Field(ge=1, lt=2**63)] | None = None
    """Steps between two evaluations on held-out data; by default only at the end."""
    bias_snapshot_every_steps: Annotated[Integer, Field(ge=1, lt=2**63)] = 200
    """Steps between two snapshots of the bias statistics; also before the first step and after the last. Default 200."""
    checkpoint_every_steps: Annotated[Integer, Field(ge=1, lt=2**63)] = 1_000
    """Steps between two checkpoints; one is always written at the end. Default 1000."""

    @model_validator(mode="after")
    def _schedule_fits(self) -> Self:
        both = self.lr_warmup_steps + self.lr_decay_steps
        names = ("lr_warmup_steps", "lr_decay_steps")
        longer, other = names if self.lr_warmup_steps > self.lr_decay_steps else reversed(names)
        if both > self.steps:
            raise refusal(
                f"and {other} are {both} steps together, more than the {self.steps} of the run; "
                "shorten them or train longer",
                longer,
            )
        return self
