"""What the API says and hears: one model per resource, for the server that writes it and the client that reads it.

Knows the job language and nothing of HTTP, SQL or torch. Longer than a file should be, since it is a vocabulary: models
refer to each other across every seam at which it could be cut, and both sides import it as one.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from prolu.spec.base import Integer
from prolu.spec.report import Alignment, BiasStatistics, CheckpointFile, FailureClass
from prolu.spec.run import RunSpec
from prolu.spec.sweep import SweepSpec

RunState = Literal[
    "queued", "starting", "running", "stopping", "retry_wait", "paused", "succeeded", "failed", "cancelled"
]
DesiredState = Literal["running", "paused", "cancelled"]
AttemptOutcome = Literal["succeeded", "failed", "lost", "cancelled", "paused", "preempted"]

Priority = Annotated[Integer, Field(ge=0, le=100)]
Item = TypeVar("Item")


class Wire(BaseModel):
    """A message of the API. Requests refuse unknown fields; readers of responses ignore what they do not know."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class Request(Wire):
    """A body that a client sends."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True, extra="forbid", allow_inf_nan=False)


class RunCreate(Request):
    """Submit one run."""

    spec: RunSpec
    """What to train."""
    priority: Priority = 50
    """0 to 100; higher goes first. Default 50."""


class SweepCreate(Request):
    """Submit a sweep."""

    spec: SweepSpec
    """What to vary."""
    priority: Priority = 50
    """0 to 100, for every run of the sweep. Default 50."""


class ProgressRead(Wire):
    """How far a run is."""

    phase: str
    """What it is doing: preparing, extracting, waiting_for_extraction, training, evaluating."""
    done: int
    """Steps trained, or tokens extracted."""
    total: int
    """Of so many; 0 where unknown."""
    updated_at: datetime
    """When it said so."""


class RunSummary(Wire):
    """A run without its spec: what lists show."""

    id: UUID
    """Identity, a UUIDv7: rises with time of submission."""
    name: str
    """Label."""
    owner: str
    """User who submitted it."""
    sweep_id: UUID | None
    """Sweep it belongs to."""
    point: int | None
    """Index within the sweep, from 0."""
    variant: str | None
    """Alternative of the sweep it belongs to."""
    digest: str
    """sha256 of the canonical spec."""
    state: RunState
    """Where it is in its life."""
    desired_state: DesiredState
    """What its owner wishes."""
    priority: int
    """0 to 100; higher goes first."""
    epoch: int
    """Number of the present or last attempt; 0 before the first."""
    step: int
    """Optimizer steps done, as last reported."""
    total_steps: int
    """Optimizer steps in all."""
    progress: ProgressRead | None
    """What it is doing, while it is live."""
    failure_class: FailureClass | None
    """Why it failed, if it did."""
    message: str | None
    """Failure or state in one sentence."""
    metrics: dict[str, float] | None
    """Final held-out metrics, once it has succeeded."""
    created_at: datetime
    """Submission."""
    started_at: datetime | None
    """First attempt's start."""
    finished_at: datetime | None
    """Entry into a terminal state."""


class RunRead(RunSummary):
    """A run with its spec."""

    spec: RunSpec
    """What it trains, defaults filled in."""


class AttemptRead(Wire):
    """One try at a run."""

    epoch: int
    """Number of the try, from 1."""
    outcome: AttemptOutcome | None
    """How it ended; null while it lives."""
    node: str | None
    """Node it ran on."""
    started_at: datetime
    """Claim by the dispatcher."""
    finished_at: datetime | None
    """End."""
    resumed_from_step: int | None
    """Step of the checkpoint it began with; null from scratch."""
    last_step: int
    """Last step it reported."""
    failure_class: FailureClass | None
    """Why it ended badly."""
    message: str | None
    """What happened, in one sentence."""
    traceback_tail: str | None
    """End of the traceback, if there was one."""


class EventRead(Wire):
    """One thing that happened to a run."""

    id: int
    """Rises with time."""
    run_id: UUID
    """The run."""
    at: datetime
    """When."""
    kind: str
    """What: submitted, claimed, running, succeeded, failed, lost, requeued, cancel_requested, cancelled, ..."""
    epoch: int | None
    """During which attempt."""
    detail: dict[str, Any]
    """More, by kind."""


class MetricRead(Wire):
    """One point of a metric series."""

    split: Literal["train", "held_out"]
    """One training batch, or the whole evaluation set."""
    step: int
    """Optimizer steps done."""
    tokens: int
    """Activations read."""
    values: dict[str, float]
    """Value by metric name."""


class BiasSnapshotRead(Wire):
    """Bias statistics of a run at one step."""

    run_id: UUID
    """The run."""
    step: int
    """Optimizer steps done."""
    tokens: int
    """Activations read."""
    statistics: BiasStatistics
    """The statistics."""


class DiagnosticsRead(Wire):
    """What was measured of a run at one step, beyond its metrics."""

    run_id: UUID
    """The run."""
    step: int
    """Optimizer steps done."""
    gradient_alignment: list[Alignment]
    """How the update of each estimator lies to directions of descent, as cosines by group of parameters."""


class CheckpointRead(Wire):
    """One checkpoint."""

    id: UUID
    """Identity."""
    run_id: UUID
    """The run."""
    epoch: int
    """The attempt that wrote it."""
    step: int
    """Optimizer steps done."""
    tokens: int
    """Activations read."""
    final: bool
    """Whether it is the run's last."""
    files: list[CheckpointFile]
    """Files with sizes and checksums."""
    bytes: int
    """Sum of the sizes."""
    created_at: datetime
    """When it was accepted."""


class PointRead(Wire):
    """One point of an expanded sweep."""

    point: int
    """Index, from 0."""
    name: str
    """Name its run gets."""
    variant: str | None
    """Alternative it belongs to."""
    set: dict[str, Any]
    """What differs from the base, by path."""
    digest: str
    """sha256 of the canonical spec of its run."""


class SweepPreview(Wire):
    """What a sweep would submit; nothing is written."""

    count: int
    """Number of runs."""
    points: list[PointRead]
    """Each run."""
    refusals: list[ProblemItem] = Field(default_factory=list)
    """Why it would be refused today, each reason once, at most 50: what it names that is not here, what no node has."""


class SweepRead(Wire):
    """A sweep and how far it is."""

    id: UUID
    """Identity, a UUIDv7."""
    name: str
    """Label."""
    owner: str
    """User who submitted it."""
    priority: int
    """Of its runs, at submission."""
    count: int
    """Number of runs."""
    states: dict[RunState, int]
    """Number of runs by state."""
    created_at: datetime
    """Submission."""
    spec: SweepSpec
    """What it varies."""


class SparsityLevel(Wire):
    """What decides how sparse a run becomes, by which runs of one variant are compared."""

    kind: Literal["coefficient", "k", "target_l0"]
    """The penalty's coefficient, the k of a TopK kind, or the l0 to which a controller steers the coefficient."""
    value: float
    """Its value."""


class ResultRow(Wire):
    """One run of a sweep, as a row of a results table."""

    run_id: UUID
    """The run."""
    point: int
    """Index within the sweep."""
    name: str
    """Label."""
    variant: str | None
    """Alternative."""
    state: RunState
    """Where it is in its life."""
    set: dict[str, Any]
    """What differs from the base, by path."""
    step: int
    """Optimizer steps done."""
    metrics: dict[str, float]
    """Final held-out metrics; empty until it succeeds."""
    bias: dict[str, float]
    """fraction_negative, fraction_zero, fraction_positive, mean, std, min, max and median of b_enc in the last snapshot."""
    level: SparsityLevel | None = None
    """What decides how sparse it becomes."""


class SeedEstimate(Wire):
    """A number over repetitions with different seeds."""

    mean: float
    """Arithmetic mean."""
    standard_error: float | None
    """Sample standard deviation over the square root of n; null for n = 1, where it is unknown."""
    interval: tuple[float, float] | None
    """Percentile bootstrap interval of the mean: 95 %, 2000 resamples. Too narrow for few, of 2 or 3 their range; null for 1."""
    n: int
    """Repetitions that have the number."""


class SeedGroupRead(Wire):
    """Runs of a sweep that differ in `training.seed` alone, as a row of a results table."""

    point: int
    """Index of the first of its runs within the sweep."""
    variant: str | None
    """Alternative."""
    set: dict[str, Any]
    """What differs from the base, by path, without the seed."""
    level: SparsityLevel | None
    """What decides how sparse the runs become."""
    seeds: list[int]
    """Seeds of its runs, by point; empty where the sweep sets none."""
    run_ids: list[UUID]
    """Its runs, by point."""
    states: dict[RunState, int]
    """Number of runs by state; only those that succeeded count in the estimates."""
    metrics: dict[str, SeedEstimate]
    """Final held-out metrics; empty until a run succeeds."""
    bias: dict[str, SeedEstimate]
    """The numbers of b_enc in the last snapshot."""
    differences: dict[str, SeedEstimate] = Field(default_factory=dict)
    """Metrics minus those of the variant `against` at equal settings, paired by seed; empty where nothing is to compare."""


class SweepBiasRead(Wire):
    """Bias statistics of one run of a sweep at its last snapshot."""

    run_id: UUID
    """The run."""
    point: int
    """Index within the sweep."""
    name: str
    """Label."""
    variant: str | None
    """Alternative."""
    state: RunState
    """Where it is in its life."""
    set: dict[str, Any]
    """What differs from the base, by path."""
    level: SparsityLevel | None
    """What decides how sparse it becomes."""
    step: int
    """Optimizer steps done at the snapshot."""
    tokens: int
    """Activations read."""
    statistics: BiasStatistics
    """The statistics; without histograms, if that was asked for: they have no bins, and joint ones are null."""


class QueueEntry(Wire):
    """A run that waits or works, in the order of the queue."""

    position: int | None
    """Place among those that wait, from 1; null for a live run."""
    run: RunSummary
    """The run."""


class NodeRead(Wire):
    """What one node of the cluster offers."""

    name: str
    """Node id or address."""
    cpus: float
    """CPU cores in all."""
    gpus: float
    """GPUs in all."""
    memory_gb: float
    """Memory in all, GiB."""


class QueueRead(Wire):
    """The queue and the cluster behind it."""

    live: list[QueueEntry]
    """Runs that an attempt works on."""
    waiting: list[QueueEntry]
    """The next runs in order, at most `limit`."""
    waiting_count: int
    """Runs that wait, in all."""
    nodes: list[NodeRead]
    """The cluster as the dispatcher last saw it; empty before it ran."""
    dispatcher_seen_at: datetime | None
    """Last sign of life of the dispatcher; null before the first."""


class Page(Wire, Generic[Item]):
    """Part of a list."""

    items: list[Item]
    """The items, in order."""
    next_cursor: str | None = None
    """Pass as `cursor` for the next part; null at the end."""


class MeRead(Wire):
    """Whose token the request carried."""

    id: UUID
    """Identity of the user."""
    name: str
    """Name of the user."""
    role: str
    """What the user may do: `admin` or `member`."""


class VersionRead(Wire):
    """What is running."""

    version: str
    """Version of prolu."""
    api: str
    """Version of the API."""
    database: str
    """Kind of database."""


class ReadyRead(Wire):
    """Whether the service can do its work."""

    ready: bool
    """Database reachable, schema at its head, artifact store reachable."""
    checks: dict[str, str]
    """Each check: `ok`, or what is wrong."""


class ProblemItem(Wire):
    """One part of the request that is wrong."""

    pointer: str
    """JSON pointer into the body; of a parameter `query:NAME`, `path:NAME` or `header:NAME`."""
    detail: str
    """What, got, do."""


class Problem(Wire):
    """RFC 9457 problem details: every error of the API."""

    type: str = "about:blank"
    """URI of the kind of problem."""
    title: str
    """The HTTP status in words."""
    status: int
    """HTTP status."""
    detail: str
    """What happened, what was got, what to do."""
    code: str
    """Stable name for programs."""
    request_id: str
    """Quote it when you ask for help."""
    errors: list[ProblemItem] = []
    """Each wrong field of the body, or each wrong parameter."""
