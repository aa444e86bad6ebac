"""Delete checkpoints so that no crash leaves half of one on offer: mark the rows, remove the files, then the rows.

From its mark on a checkpoint is in no list, in no download, and no run goes on from it. `Remover` does the rest, and takes up
what another process has left. Whoever marks holds the runs, so that no run begins with it at the same moment.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from service.domain.errors import Conflict, NotFound, ServiceError
from service.store import chores, protection
from service.store.artifacts import Artifacts
from service.store.db import Database, database_now
from service.store.models import CheckpointRow, EventRow
from service.store.wishes import locked

log = structlog.get_logger(__name__)

# So many ids in one statement; so many steps in one event.
_AT_ONCE, _TOLD = 1_000, 100
_PAUSE_SECONDS = 60.0


def mark(session: Session, doomed: Sequence[tuple[UUID, UUID, int, int]]) -> None:
    """Let checkpoints (id, run, step, bytes) of runs that are held be deleted, with an event of each run."""
    now = database_now(session)
    for start in range(0, len(doomed), _AT_ONCE):
        ids = [checkpoint_id for checkpoint_id, *_ in doomed[start : start + _AT_ONCE]]
        session.execute(
            update(CheckpointRow).where(CheckpointRow.id.in_(ids)).values(deleting_since=now),
            execution_options={"synchronize_session": False},
        )
    by_run: dict[UUID, list[tuple[int, int]]] = defaultdict(list)
    for _, run_id, step, size in doomed:
        by_run[run_id].append((step, size))
    events = [_event(run_id, sorted(gone)) | {"at": now} for run_id, gone in by_run.items()]
    if events:
        session.execute(insert(EventRow), events)


def mark_one(session: Session, checkpoint_id: UUID) -> None:
    """Let one checkpoint be deleted.

    Raises NotFound, and Conflict where it is pinned, a worker reads it, a run that has not ended for good would go on from it, or
    it is the last one of a run that others refer to.
    """
    run_id = session.scalar(
        select(CheckpointRow.run_id).where(CheckpointRow.id == checkpoint_id, CheckpointRow.deleting_since.is_(None))
    )
    if run_id is None:
        raise NotFound(f"There is no checkpoint {checkpoint_id}; GET /v1/checkpoints lists those that there are.")
    run = locked(session, run_id)
    # Held too: whoever takes a chore holds it, and not the run.
    row = session.get_one(CheckpointRow, checkpoint_id, populate_existing=True, with_for_update={"key_share": True})
    if row.deleting_since is not None:
        raise NotFound(f"There is no checkpoint {checkpoint_id}; GET /v1/checkpoints lists those that there are.")
    if row.pinned:
        raise Conflict(f"Checkpoint {checkpoint_id} is pinned; unpin it before you delete it.")
    if (needing := protection.needed_by(session, run, row.path)) is not None:
        raise Conflict(
            f"Checkpoint {checkpoint_id} is where run {needing} goes on from; "
            "let that run end, or cancel it, before you delete the checkpoint."
        )
    if row.final and (referring := protection.referring_run(session, run_id)) is not None:
        raise Conflict(
            f"Checkpoint {checkpoint_id} is what run {referring} refers to instead of training again; "
            "archive that run, and any other like it, before you delete the checkpoint."
        )
    chores.require_idle(session, checkpoint_id)
    mark(session, [(row.id, run_id, row.step, row.bytes)])


class Remover:
    """Removes what is marked, in a thread of its own: at once when it is woken, and again after a while where it could not."""

    def __init__(self, database: Database, artifacts: Artifacts, *, pause_seconds: float = _PAUSE_SECONDS) -> None:
        self._database = database
        self._artifacts = artifacts
        self._pause_seconds = pause_seconds
        self._woken = threading.Event()
        self._ended = threading.Event()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Work within the block, beginning with what was left before; at its end, after the checkpoint that is in hand."""
        self._ended.clear()
        thread = threading.Thread(target=self._run, name="remover", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            self._woken.set()
            thread.join()

    def wake(self) -> None:
        """Tell that there is something to remove."""
        self._woken.set()

    def remove_all(self) -> int:
        """Remove whatever is marked. Returns how many checkpoints are gone; what the store keeps back stays marked.

        Two may do so at once: files that are gone already do not matter.
        """
        gone = 0
        for checkpoint_id, folder, files in self._marked():
            if self._ended.is_set():
                break
            try:
                self._artifacts.remove(folder, [file["name"] for file in files])
                self._artifacts.remove_folder(chores.folder_of(checkpoint_id))
            except ServiceError as error:
                log.warning("deletion_delayed", checkpoint=str(checkpoint_id), why=error.sentence)
                continue
            with self._database.begin() as session:
                session.execute(delete(CheckpointRow).where(CheckpointRow.id == checkpoint_id))
            gone += 1
        return gone

    def _marked(self) -> list[tuple[UUID, str, list[dict[str, Any]]]]:
        with self._database.read() as session:
            rows = session.execute(
                select(CheckpointRow.id, CheckpointRow.path, CheckpointRow.files)
                .where(CheckpointRow.deleting_since.is_not(None))
                .order_by(CheckpointRow.deleting_since)
            )
            return [(row.id, row.path, row.files) for row in rows]

    def _run(self) -> None:
        while not self._ended.is_set():
            self._woken.clear()
            try:
                self.remove_all()
            except SQLAlchemyError as error:
                log.warning("deletion_delayed", why=type(error).__name__)
            self._woken.wait(self._pause_seconds)


def _event(run_id: UUID, gone: Sequence[tuple[int, int]]) -> dict[str, Any]:
    detail = {
        "count": len(gone),
        "bytes": sum(size for _, size in gone),
        "steps": [step for step, _ in gone[:_TOLD]],
    }
    return {"run_id": run_id, "kind": "checkpoints_deleted", "epoch": None, "detail": detail}
