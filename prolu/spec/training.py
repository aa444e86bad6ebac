"""How long, how fast, and what is written on the way."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from prolu.spec.base import LARGEST, LEAST, Flag, Integer, Number, Size, Spec, UnsignedZero, refusal
from prolu.spec.estimators import Estimator, ReluLike, Ste, SteBiasOnly, SteInputOnly


class _Optimizer(Spec):
    learning_rate: Annotated[Number, Field(ge=LEAST, le=LARGEST)] = 1e-3
    """Peak learning rate. Default 1e-3, the author's final runs."""


class _AdamLike(_Optimizer):
    beta1: Annotated[Number, Field(ge=0, lt=1), UnsignedZero] = 0.9
    """Decay of the first moment. Default 0.9, torch's; the Gated and JumpReLU papers use 0."""
    beta2: Annotated[Number, Field(ge=0, lt=1), UnsignedZero] = 0.999
    """Decay of the second moment. Default 0.999, torch's."""
    epsilon: Annotated[Number, Field(ge=LEAST, le=1e6)] = 1e-8
    """Added to the denominator. Default 1e-8, torch's."""


class AdamSpec(_AdamLike):
    """Adam without weight decay, the optimizer of the post."""

    kind: Literal["adam"] = "adam"
    """Tag of the union."""


class AdamWSpec(_AdamLike):
    """Adam with decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101)."""

    kind: Literal["adamw"] = "adamw"
    """Tag of the union."""
    weight_decay: Annotated[Number, Field(ge=0, le=1e6), UnsignedZero] = 0.01
    """Share of a weight lost per step and unit of learning rate. Default 0.01, torch's."""


class RAdamSpec(_AdamLike):
    """Adam with a rectified adaptive rate, which needs no warm-up (Liu 2019, arXiv 1908.03265)."""

    kind: Literal["radam"] = "radam"
    """Tag of the union."""


class MuonSpec(_Optimizer):
    """Orthogonalised momentum for W_enc and W_dec (Jordan 2024), scaled as Adam's updates are; plain Adam for the vectors."""

    kind: Literal["muon"] = "muon"
    """Tag of the union."""
    momentum: Annotated[Number, Field(ge=0, lt=1), UnsignedZero] = 0.95
    """Decay of the momentum. Default 0.95, torch's."""


OptimizerSpec = Annotated[AdamSpec | AdamWSpec | RAdamSpec | MuonSpec, Field(discriminator="kind")]


class ResamplingSpec(Spec):
    """Revive dead latents as the post did: decoder rows from inputs drawn with probability proportional to loss^2."""

    every_steps: Annotated[Integer, Field(ge=1, lt=2**63)]
    """Steps between two resamples. A latent is resampled if it has not fired since the last one."""
    until_step: Annotated[Integer, Field(ge=1, lt=2**63)] | None = None
    """No resample after this step; by default none in the last `every_steps` of the run, so that the last one settles."""
    samples: Annotated[Integer, Field(ge=1, le=10_000_000)] = 8_192
    """Activations, read from the stream, of which new rows are drawn, each once. Default 8192; Bricken 2023 took 819200."""
    encoder_scale: Size = 0.2
    """Norm of a new encoder column over the mean norm of the living. Default 0.2 (Bricken 2023, and the post)."""
    lr_warmup_steps: Annotated[Integer, Field(ge=0, lt=2**63)] = 100
    """Steps after each resample over which the learning rate rises again from 0. Default 100; our choice."""


class GradientAlignmentSpec(Spec):
    """At the end of the run, compare estimators by where their updates point: `prolu.analysis.gradient_alignment`."""

    estimators: Annotated[list[Estimator], Field(min_length=1, max_length=64)] = [
        ReluLike(),
        Ste(),
        SteBiasOnly(),
        SteInputOnly(),
    ]
    """Estimators to compare on the weights that were trained. Default the four of the post's discussion."""
    bandwidths: Annotated[list[Size], Field(min_length=1, max_length=32)] = [
        0.01,
        0.03,
        0.1,
        0.3,
    ]
    """Widths of the smoothing of l0, in units of m + b; by default 0.01, 0.03, 0.1 and 0.3."""
    batches: Annotated[Integer, Field(ge=2, le=10_000)] = 16
    """Held-out batches over which mean and standard error are taken. Default 16."""
    batch_size: Annotated[Integer, Field(ge=1, le=1_048_576)] = 512
    """Activations per batch. Default 512."""


class TrainingSpec(Spec):
    """The training loop: steps, optimizer, schedule, and how often to report."""

    steps: Annotated[Integer, Field(ge=1, le=1_000_000_000)]
    """Optimizer steps; the run reads steps * batch_size activations."""
    batch_size: Annotated[Integer, Field(ge=1, le=1_048_576)] = 4_096
    """Activations per step. Default 4096, the author's final runs."""
    optimizer: OptimizerSpec = AdamSpec()
    """The optimizer and its learning rate. Default Adam, the post's."""
    reconstruction: Literal["mean", "sum"] = "mean"
    """Squared error averaged over batch and d_in (the default, the post's), or summed over d_in: lambda rescales by d_in."""
    lr_warmup_steps: Annotated[Integer, Field(ge=0, lt=2**63)] = 0
    """Steps over which the learning rate rises linearly from 0 to its peak. Default 0."""
    lr_decay_steps: Annotated[Integer, Field(ge=0, lt=2**63)] = 0
    """Last steps, over which the learning rate falls to 0. Default 0."""
    lr_decay: Literal["linear", "cosine"] = "linear"
    """How it falls there: along a line, the default and the post's, or half a cosine."""
    gradient_clip_norm: Annotated[Number, Field(ge=LEAST, le=LARGEST)] | None = None
    """Scale gradients down to this norm, over all parameters together; by default never."""
    resampling: ResamplingSpec | None = None
    """Revive dead latents; by default not."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """`bfloat16` runs matrix products under autocast, weights and loss stay float32. Default float32."""
    compile: Flag = False
    """Compile the step with torch.compile; slower to start, and equal up to rounding only. Default false."""
    seed: Annotated[Integer, Field(ge=0, lt=2**63)] = 0
    """Seed of the initial weights and of resampling; the order of the data is that of `data.seed`. Default 0."""
    dead_window_tokens: Annotated[Integer, Field(ge=1, lt=2**63)] = 1_000_000
    """A latent silent on this many activations is dead; a run that reads fewer cannot tell. Default 1e6; Gao 2024 takes 1e7."""
    metrics_every_steps: Annotated[Integer, Field(ge=1, lt=2**63)] = 50
    """Steps between two points of the training metrics. Default 50."""
    evaluate_every_steps: Annotated[Integer, Field(ge=1, lt=2**63)] | None = None
    """Steps between two evaluations on held-out data; by default only at the end."""
    bias_snapshot_every_steps: Annotated[Integer, Field(ge=1, lt=2**63)] = 200
    """Steps between two snapshots of the bias statistics; also before the first step and after the last. Default 200."""
    checkpoint_every_steps: Annotated[Integer, Field(ge=1, lt=2**63)] = 1_000
    """Steps between two checkpoints; one is always written at the end. Default 1000."""
    gradient_alignment: GradientAlignmentSpec | None = None
    """Measure, after the last step, where each estimator's update points; for `prolu` and `prolu_hybrid`. By default not."""

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
