"""What is kept, and what is said of it: tags and notes, pins and archives, and the life of checkpoints after their run."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import Field, StringConstraints, model_validator

from prolu.client.wire.base import Request, Wire
from prolu.client.wire.submitting import PlacePatch
from prolu.spec.base import Flag, Integer, refusal
from prolu.spec.text import Note, Tag

KeepReason = Literal["pinned", "needed", "referred", "final", "last", "best"]
FileState = Literal["good", "missing", "shorter", "longer", "altered"]

Count = Annotated[Integer, Field(ge=0, le=10_000)]
Tags = Annotated[list[Tag], Field(max_length=50)]
MetricName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.]{1,100}$")]


class KeepBest(Request):
    """Which checkpoints are the best."""

    count: Annotated[Integer, Field(ge=1, le=10_000)] = 1
    """How many: of a run's checkpoints, or of all those of a sweep together. Default 1."""
    metric: MetricName
    """Held-out metric, as measured at the checkpoint's step; what was not measured there is not among the best."""
    goal: Literal["min", "max"] = "min"
    """Whether the least (the default) or the greatest value is the best."""


class PruneRequest(Request):
    """Delete the checkpoints of a run or a sweep that no rule keeps. What is pinned or still needed is always kept."""

    keep_last: Count = 0
    """Of each run, keep the latest so many; 0 by default."""
    keep_best: KeepBest | None = None
    """Keep the best by a metric; by default none for that."""
    keep_final: Flag = True
    """Keep the last checkpoint of each run that reached its end; true by default."""
    dry_run: Flag = False
    """Only say what would be deleted, and delete nothing; false by default."""


class PrunedRead(Wire):
    """A checkpoint, and what a policy says of it."""

    id: UUID
    """The checkpoint."""
    run_id: UUID
    """Its run."""
    step: int
    """Optimizer steps done."""
    bytes: int
    """Sum of its files' sizes."""
    kept_as: list[KeepReason]
    """Why it is kept; empty for one that is deleted."""


class PruneRead(Wire):
    """What was deleted by a policy, or would be, and what was kept."""

    dry_run: bool
    """Whether nothing was deleted in truth."""
    deleted: int
    """Number of checkpoints that go; their files follow soon."""
    deleted_bytes: int
    """What that frees."""
    kept: int
    """Number of checkpoints that stay."""
    kept_bytes: int
    """What they take."""
    checkpoints: list[PrunedRead]
    """Each of them, those that go first, by run and step; the first 1000."""


class FileVerdict(Wire):
    """What was found of one file."""

    name: str
    """Path within the checkpoint's folder."""
    state: FileState
    """Whether it is what was written (good), or how it differs."""
    bytes: int | None
    """Its size in the store; null where it is missing."""
    sha256: str | None
    """Its checksum in the store; null where its size is wrong already."""


class VerifyRead(Wire):
    """What was found when the files of a checkpoint were read and compared with their checksums."""

    checkpoint_id: UUID
    """The checkpoint."""
    good: bool
    """Whether all of it is as it was written."""
    files: list[FileVerdict]
    """Each file, the manifest last."""


class DecisionPatch(PlacePatch):
    """Change what is decided of a run or a sweep: its place in the queue, and how it is kept; what is left out stays."""

    tags: Tags | None = None
    """What it is filed under, each tag a `key` or `key:value`, in place of all that it had; at most 50."""
    note: Note | None = None
    """What is to be said of it, in Markdown; empty takes away what was said."""
    pinned: Flag | None = None
    """Whether its checkpoints are kept whatever a policy of deletion says."""
    archived: Flag | None = None
    """Whether lists leave it out unless they are asked for the archive; only what has ended can be archived."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if all(value is None for _, value in self):
            raise refusal("says nothing; give priority, tier, preemptible, tags, note, pinned or archived")
        return self


class CheckpointPatch(Request):
    """Change what is decided of a checkpoint; what is left out stays."""

    pinned: Flag | None = None
    """Whether it is kept whatever a policy of deletion says."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.pinned is None:
            raise refusal("says nothing; give pinned")
        return self
