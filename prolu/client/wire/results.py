"""The results of a sweep as rows of tables: by run, by group of seeds, and the biases of each run."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from prolu.client.wire.base import Wire
from prolu.client.wire.runs import RunState
from prolu.spec.report import BiasStatistics


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
    reused_from: UUID | None = None
    """Identical finished run whose results these are; it was not trained again."""
    stopped_early: str | None = None
    """Why early stopping ended it, in one sentence; null for any other run."""


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
