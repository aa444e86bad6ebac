"""Small jobs on checkpoints, as people ask for them and see them; `service.store.chore_work` has them done.

The same is done once: a chore stands for its checkpoint, kind and format until it fails, and a unique index sees to it that
there is one. Files of an export lie below `exports/{checkpoint}/`, in a folder of each attempt, beside the checkpoint and
never in it: what a manifest vouches for does not change.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import func, literal, select
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from prolu.client.wire import BiasSnapshotRead, CheckpointRead, ChoreKind, ChoreRead
from prolu.spec.report import CheckpointFile
from prolu.spec.run import ExportFormat
from service.domain.errors import Conflict, NotFound, QueueFull
from service.store import lease, nodes
from service.store.db import database_now, dialect_insert
from service.store.models import CheckpointRow, ChoreRow, UserRow

# Chores of one user that may be open at once.
MOST_OPEN = 100
# Cores that a node must offer to have a chore: those that offer none (heads, dispatchers) compute nothing.
CPUS = 1.0

_TRAINING = "training.safetensors"
OPEN = ("queued", "running")


@dataclass(frozen=True)
class Made:
    """An export that lies in the artifact store."""

    folder: str
    """Below the artifact root."""
    files: list[CheckpointFile]
    """Named as in a checkpoint, such as `sae_lens/cfg.json`."""


def folder_of(checkpoint_id: UUID) -> str:
    """Where everything lies that was made of a checkpoint, below the artifact root."""
    return f"exports/{checkpoint_id}"


def ask(
    session: Session,
    checkpoint: CheckpointRead,
    folder: str,
    kind: ChoreKind,
    layout: ExportFormat | None,
    *,
    asked_by: UUID,
) -> tuple[ChoreRead, bool]:
    """Give the chore that does this, which may be done already, and whether it is a new one. The checkpoint is held.

    Raises Conflict where the checkpoint lacks what it takes, QueueFull where the user has too many open.
    """
    standing = select(ChoreRow.id).where(
        ChoreRow.checkpoint_id == checkpoint.id,
        ChoreRow.kind == kind,
        ChoreRow.format == (layout or ""),
        ChoreRow.state != "failed",
    )
    while True:  # what stood in the way of a new one may fail before it is read
        if (found := session.scalar(standing)) is not None:
            return read(session, found), False
        row = _new(session, checkpoint, folder, kind, layout, asked_by)
        added = dialect_insert(session, ChoreRow).values(row).on_conflict_do_nothing().returning(literal(1))
        if session.execute(added).first() is not None:
            return read(session, row["id"]), True


def read(session: Session, chore_id: UUID) -> ChoreRead:
    """One chore. Raises NotFound."""
    statement = (
        select(ChoreRow, CheckpointRow.run_id, UserRow.name)
        .join(CheckpointRow, CheckpointRow.id == ChoreRow.checkpoint_id)
        .join(UserRow, UserRow.id == ChoreRow.asked_by)
        .where(ChoreRow.id == chore_id, CheckpointRow.deleting_since.is_(None))
        .execution_options(populate_existing=True)
    )
    found = session.execute(statement).one_or_none()
    if found is None:
        raise NotFound(f"There is no chore {chore_id}; chores go with their checkpoint. Ask for it again.")
    row, run_id, name = found
    outcome: dict[str, Any] = row.outcome or {}
    return ChoreRead(
        id=row.id,
        checkpoint_id=row.checkpoint_id,
        kind=row.kind,
        format=row.format or None,
        state=row.state,
        asked_by=name,
        message=_hindrance(session) or row.message if row.state == "queued" else row.message,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        files=outcome.get("files", []),
        notes=outcome.get("notes", []),
        snapshot=_snapshot(run_id, outcome) if row.kind == "recompute" and outcome else None,
    )


def made(session: Session, checkpoint_id: UUID, layout: str) -> Made | None:
    """Give the export of a checkpoint that was made on request; None if there is none."""
    row = session.scalar(
        select(ChoreRow).where(
            ChoreRow.checkpoint_id == checkpoint_id,
            ChoreRow.kind == "export",
            ChoreRow.format == layout,
            ChoreRow.state == "succeeded",
        )
    )
    if row is None or row.path is None or row.outcome is None:
        return None
    return Made(row.path, [CheckpointFile.model_validate(file) for file in row.outcome["files"]])


def require_idle(session: Session, checkpoint_id: UUID) -> None:
    """Raise Conflict where a worker reads the checkpoint just now."""
    busy = select(ChoreRow.id).where(ChoreRow.checkpoint_id == checkpoint_id, ChoreRow.state == "running")
    if (chore_id := session.scalar(busy)) is not None:
        raise Conflict(
            f"Checkpoint {checkpoint_id} is being read by chore {chore_id}, which takes seconds; delete it after that."
        )


def being_read(session: Session, run_ids: Collection[UUID]) -> set[UUID]:
    """Give those checkpoints of the runs that a worker reads just now."""
    busy = select(CheckpointRow.id, CheckpointRow.run_id).join(ChoreRow).where(ChoreRow.state == "running")
    return {row.id for row in session.execute(busy) if row.run_id in set(run_ids)}


def _new(
    session: Session,
    checkpoint: CheckpointRead,
    folder: str,
    kind: ChoreKind,
    layout: ExportFormat | None,
    asked_by: UUID,
) -> dict[str, Any]:
    """A chore to be added; it is done already where the run itself wrote the export."""
    if kind == "recompute" and all(file.name != _TRAINING for file in checkpoint.files):
        raise Conflict(
            f"Checkpoint {checkpoint.id} has no {_TRAINING}, which says which latents are alive; its statistics cannot be "
            "computed again. Take another checkpoint of the run."
        )
    now = database_now(session)
    row = {
        "id": uuid7(),
        "checkpoint_id": checkpoint.id,
        "asked_by": asked_by,
        "kind": kind,
        "format": layout or "",
        "state": "queued",
        "epoch": 0,
        "losses": 0,
        "created_at": now,
    }
    files = [file.model_dump() for file in checkpoint.files if layout and file.name.startswith(f"{layout}/")]
    if files:
        return row | {"state": "succeeded", "path": folder, "outcome": {"files": files}, "finished_at": now}
    count = select(func.count()).where(ChoreRow.asked_by == asked_by, ChoreRow.state.in_(OPEN))
    if (waiting := session.scalar(count) or 0) >= MOST_OPEN:
        raise QueueFull(f"You have {waiting} chores open, and {MOST_OPEN} is the most; wait until some are done.")
    return row


def _hindrance(session: Session) -> str | None:
    """Say why nothing is done at present, if nothing is."""
    seen = lease.last_sign_of_life(session)
    if seen is None or database_now(session) - seen > lease.BELIEVED:
        return "It waits for a dispatcher: none has been heard of lately, and it takes one to start it."
    if not any(node.cpus >= CPUS and not node.draining for node in nodes.nodes(session)):
        return "It waits for a node: the cluster has none that computes and is not drained."
    return None


def _snapshot(run_id: UUID, outcome: dict[str, Any]) -> BiasSnapshotRead:
    told = {name: outcome[name] for name in ("step", "tokens", "statistics")}
    return BiasSnapshotRead.model_validate({"run_id": run_id, **told})
