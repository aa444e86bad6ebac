"""What a run measures and writes while it trains: metrics, bias statistics, diagnostics, checkpoints."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from prolu.client.wire.base import Wire
from prolu.spec.report import Alignment, BiasStatistics, CheckpointFile


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


class SweepMetricRead(MetricRead):
    """One point of a metric series of a run of a sweep."""

    run_id: UUID
    """The run."""
    point: int
    """Its index within the sweep, from 0."""


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
    pinned: bool
    """Whether it is kept whatever a policy of deletion says."""
    created_at: datetime
    """When it was accepted."""
