"""What a run reports while it lives: progress, metrics, bias statistics, checkpoints, log lines, its end.

One definition for the trainer that produces it, the queue that stores it and the API that serves it. Its texts are such
as every database can hold.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

FailureClass = Literal[
    "node_lost",
    "preempted",
    "ray_infra",
    "not_started",
    "host_oom",
    "gpu_oom",
    "storage",
    "lease_expired",
    "nan_loss",
    "user_error",
    "timeout",
    "internal_error",
    "bad_checkpoint",
]

StopReason = Literal["cancel", "pause", "preempt", "timeout", "orphaned"]

# Probabilities of the quantiles in every distribution.
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


def storable(text: str) -> str:
    """Replace what PostgreSQL cannot hold, and SQLite would: NUL, and halves of surrogate pairs."""
    return text.replace("\x00", "�").encode(errors="replace").decode()


Text = Annotated[str, AfterValidator(storable)]


class Record(BaseModel):
    """A frozen value that a run reports."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Histogram(Record):
    """Counts between edges; `edges` has one entry more than `counts`."""

    edges: list[float]
    """Bin edges, rising; the last bin includes its right edge."""
    counts: list[int]
    """Values in each bin; they sum to the number of values."""


class Distribution(Record):
    """A set of numbers, summarised. Of an empty set every number is null and the histogram has no bins."""

    mean: float | None
    """Arithmetic mean."""
    std: float | None
    """Standard deviation of the population (divisor n)."""
    min: float | None
    """Smallest value."""
    max: float | None
    """Largest value."""
    quantiles: dict[Text, float]
    """Quantile by probability (`"0.5"` is the median), linearly interpolated."""
    histogram: Histogram
    """Equal bins from min to max."""


class BiasPopulation(Record):
    """The encoder biases of one set of latents."""

    count: int
    """Latents in the set."""
    fraction_negative: float | None
    """Share with b < 0; null of an empty set."""
    fraction_zero: float | None
    """Share with b == 0."""
    fraction_positive: float | None
    """Share with b > 0: the slack in which a ProLU bias acts as zero."""
    bias: Distribution
    """b_enc, in units of the normalised activation's projection m."""
    threshold: Distribution
    """Effective thresholds max(0, -b)."""


class JointHistogram(Record):
    """Counts in a grid of bins; values beyond an edge count in the bin at that edge."""

    x_edges: list[float]
    """Edges of the rows, rising."""
    y_edges: list[float]
    """Edges of the columns, rising."""
    counts: list[list[int]]
    """Latents, by row and column; they sum to the number of latents."""


class BiasChange(Record):
    """How the biases moved since the snapshot before."""

    since_step: int
    """Step of the snapshot before."""
    sign_flips: int
    """Latents whose bias changed from negative to positive, or back; a bias of exactly 0, then or now, is no flip."""
    drift_mean: float
    """Mean of b now minus b then."""
    drift_rms: float
    """Root mean square of b now minus b then."""


class BiasStatistics(Record):
    """The gate's biases at one step: of all latents, and of the alive and the dead apart.

    The bias is b with "a latent can fire iff m + b > 0": b_enc of relu and prolu kinds, b_gate of gated, b_enc - theta of
    jumprelu and of the batch kinds, b_enc of topk, which has no gate of its own.
    """

    all: BiasPopulation
    """Every latent."""
    alive: BiasPopulation
    """Latents that fired within the dead window."""
    dead: BiasPopulation
    """Latents that did not."""
    change: BiasChange | None = None
    """Since the snapshot before; null in the first."""
    density: Histogram | None = None
    """log10 of each latent's firing frequency, a moving average over dead_window_tokens; below 1e-8 counts as 1e-8."""
    bias_by_frequency: JointHistogram | None = None
    """Bias (rows) against log10 of the firing frequency (columns)."""
    bias_by_decoder_norm: JointHistogram | None = None
    """Bias (rows) against the norm of the latent's decoder row (columns)."""


class Progress(Record):
    """How far the run is; the last one counts."""

    kind: Literal["progress"] = "progress"
    """Tag of the union."""
    phase: Literal["preparing", "extracting", "waiting_for_extraction", "training", "evaluating"]
    """What the run is doing."""
    done: int
    """Steps trained, tokens extracted, or, while preparing, tokens or bytes read."""
    total: int
    """Steps, tokens or bytes in all; 0 where unknown."""


class MetricPoint(Record):
    """Metrics at one step, by the formulas of `prolu.analysis.metrics`."""

    kind: Literal["metrics"] = "metrics"
    """Tag of the union."""
    split: Literal["train", "held_out"]
    """`train` is one batch, `held_out` the whole evaluation set."""
    step: int
    """Optimizer steps done."""
    tokens: int
    """Activations read."""
    values: dict[Text, float]
    """Value by metric name."""


class BiasSnapshot(Record):
    """Bias statistics at one step."""

    kind: Literal["bias_snapshot"] = "bias_snapshot"
    """Tag of the union."""
    step: int
    """Optimizer steps done."""
    tokens: int
    """Activations read."""
    statistics: BiasStatistics
    """The statistics."""


class Estimate(Record):
    """A mean over repetitions, with its error."""

    mean: float
    """Arithmetic mean."""
    standard_error: float | None
    """Sample standard deviation over the square root of n; null for n = 1, where it is unknown."""
    n: int
    """Repetitions."""


class Alignment(Record):
    """How one estimator's update lies to one direction, in one group of parameters: by `prolu.analysis.gradient_alignment`.

    The update is minus the gradient that training would hand to its optimizer, the direction minus that of an objective.
    """

    estimator: Text
    """The estimator, as compact JSON of its spec with sorted keys."""
    part: Literal["loss", "reconstruction", "penalty"] = "loss"
    """What the update descends: reconstruction plus lambda times penalty, the default, or one of the two alone."""
    objective: Literal["l0", "reconstruction", "l1"]
    """Whose descent direction: smoothed l0, the reconstruction loss (exact, but smoothed for b_enc), or the exact L1 penalty."""
    bandwidth: float | None
    """Width of the smoothing of the gates, in units of m + b; null where nothing is smoothed."""
    group: Text
    """Parameters compared: W_enc, b_enc, W_dec, b_dec, or all; groups where update or direction is always zero are left out."""
    cosine: Estimate
    """Cosine over batches; left out of the mean where a direction is zero, so n may be smaller than the batches."""


class DiagnosticsMeasured(Record):
    """What was measured of a checkpoint beyond its metrics."""

    kind: Literal["diagnostics"] = "diagnostics"
    """Tag of the union."""
    step: int
    """Optimizer steps done."""
    gradient_alignment: list[Alignment] = []
    """How the update of each estimator lies to directions of descent; by default none."""


class CheckpointFile(Record):
    """One file of a checkpoint."""

    name: Text
    """Path within the checkpoint's folder, with `/`; exports lie in a folder named by their format."""
    bytes: int
    """Size."""
    sha256: Text
    """Checksum, 64 hex digits."""


class CheckpointWritten(Record):
    """A checkpoint whose files and manifest are all in the artifact store."""

    kind: Literal["checkpoint"] = "checkpoint"
    """Tag of the union."""
    step: int
    """Optimizer steps done."""
    tokens: int
    """Activations read."""
    path: Text
    """Folder below the artifact root: `runs/{id}/e{epoch}/step-{step}`."""
    files: list[CheckpointFile]
    """Every file but the manifest."""
    final: bool
    """Whether it is the run's last, written after the last step."""


class LogLines(Record):
    """What the attempt's process logged and printed since the report of this kind before."""

    kind: Literal["log"] = "log"
    """Tag of the union."""
    text: Text
    """Whole lines, each with its time (UTC), of a gang `[rank 1]`, and its level, or `OUT` or `ERR` where it was printed."""


class Succeeded(Record):
    """The run reached its last step."""

    kind: Literal["succeeded"] = "succeeded"
    """Tag of the union."""
    step: int
    """Optimizer steps done."""
    metrics: dict[Text, float]
    """Final held-out metrics."""


class LostWorker(Record):
    """A worker of a gang that is gone."""

    node: Text | None = None
    """Where it was; None if nobody knows."""
    exit_cause: Text | None = None
    """How its process ended, as far as the cluster knows."""


class Failed(Record):
    """The attempt ended in an error, or by the loss of one of its other workers."""

    kind: Literal["failed"] = "failed"
    """Tag of the union."""
    step: int
    """Optimizer steps done."""
    failure_class: FailureClass
    """Decides whether the run is tried again."""
    message: Text
    """What happened, in one sentence."""
    traceback_tail: Text = ""
    """The end of the traceback, for the owner of the run."""
    lost: LostWorker | None = None
    """The worker whose loss it was."""


class Stopped(Record):
    """The attempt ended because it was asked to; a checkpoint was written if a step had been trained."""

    kind: Literal["stopped"] = "stopped"
    """Tag of the union."""
    step: int
    """Optimizer steps done."""
    reason: StopReason
    """Who asked, and what for."""


Outcome = Succeeded | Failed | Stopped
Report = Annotated[
    Progress
    | MetricPoint
    | BiasSnapshot
    | DiagnosticsMeasured
    | CheckpointWritten
    | LogLines
    | Succeeded
    | Failed
    | Stopped,
    Field(discriminator="kind"),
]
