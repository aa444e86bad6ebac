"""The queue, and the cluster behind it."""

from __future__ import annotations

from datetime import datetime

from prolu.client.wire.base import Wire
from prolu.client.wire.runs import RunSummary


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
    gpu_type: str | None = None
    """Type of its GPUs, as Ray names it; null where it has none or does not say."""
    memory_gb: float
    """Memory in all, GiB."""
    draining: bool = False
    """Whether it starts nothing more, by an administrator's wish."""


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
