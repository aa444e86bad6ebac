"""Small jobs on checkpoints that somebody asks for and the cluster does: an export, or the bias statistics computed again."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from prolu.client.wire.base import Request, Wire
from prolu.client.wire.measured import BiasSnapshotRead
from prolu.spec.report import CheckpointFile
from prolu.spec.run import ExportFormat

ChoreKind = Literal["export", "recompute"]
# queued: waits for its turn. running: a worker is at it. succeeded and failed are for good; who asks again after a failure
# gets another chore.
ChoreState = Literal["queued", "running", "succeeded", "failed"]


class ExportRequest(Request):
    """Convert a checkpoint for another library."""

    format: ExportFormat = "sae_lens"
    """The library that shall read it; `sae_lens` by default."""


class ChoreRead(Wire):
    """A small job on one checkpoint: where it is, and what came of it."""

    id: UUID
    """Identity."""
    checkpoint_id: UUID
    """The checkpoint."""
    kind: ChoreKind
    """Whether the checkpoint is exported, or its bias statistics are computed again."""
    format: ExportFormat | None
    """For which library it is exported; null for other kinds."""
    state: ChoreState
    """Where it is; it is over when it has succeeded or failed."""
    asked_by: str
    """Name of the user who asked for it first; whoever asks for the same gets this one."""
    message: str | None
    """Why it failed or was tried again, or what it waits for; null otherwise."""
    created_at: datetime
    """When it was asked for."""
    started_at: datetime | None
    """When a worker took it up last."""
    finished_at: datetime | None
    """When it was over."""
    files: list[CheckpointFile]
    """Files of a finished export with sizes and checksums, for the download of the checkpoint; empty otherwise."""
    notes: list[str]
    """What the other library's layout cannot hold, or holds in another way, in sentences."""
    snapshot: BiasSnapshotRead | None
    """The statistics that were computed again; null otherwise."""
