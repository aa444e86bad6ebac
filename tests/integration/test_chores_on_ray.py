"""Chores on a real Ray: made by a process of their own beside runs, and made again where that process is lost."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from sqlalchemy import select, text

from prolu.client.wire import ChoreKind, ChoreRead
from prolu.spec.run import ExportFormat
from service.store import chores, results
from service.store.models import BiasSnapshotRow, CheckpointRow

if TYPE_CHECKING:
    from tests.integration.dispatching import Service


def ask(service: Service, run_id: UUID, kind: ChoreKind, layout: ExportFormat | None = None) -> UUID:
    with service.database.begin() as session:
        last = session.scalars(
            select(CheckpointRow.id).where(CheckpointRow.run_id == run_id, CheckpointRow.final)
        ).one()
        checkpoint, folder = results.checkpoint(session, last)
        return chores.ask(session, checkpoint, folder, kind, layout, asked_by=service.owner_id)[0].id


def read(service: Service, chore_id: UUID) -> ChoreRead:
    with service.database.read() as session:
        return chores.read(session, chore_id)


def worker_of(chore_id: UUID) -> int | None:
    """The process that does a chore, by the name that Ray gives it; None before it has begun."""
    for told in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if f"ray::chore-{chore_id}" in told.read_text():
                return int(told.parent.name)
    return None


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_checkpoint_is_exported_and_its_statistics_computed_again_though_a_worker_dies(service: Service) -> None:
    from tests.integration.dispatching import spec

    run_id = service.submit(spec(steps=100))
    assert service.finish(run_id).state == "succeeded"
    exported, computed = ask(service, run_id, "export", "sae_lens"), ask(service, run_id, "recompute")
    deadline = time.monotonic() + 60
    while (process := worker_of(exported)) is None:
        assert time.monotonic() < deadline, "nobody began"
        service.dispatcher.tick()
    os.kill(process, signal.SIGKILL)
    service.tick_until(lambda: read(service, exported).message is not None)
    assert read(service, exported).state == "queued"
    assert "worker was lost" in str(read(service, exported).message)
    with service.database.begin() as session:
        session.execute(text("UPDATE chores SET not_before = NULL"))
    service.tick_until(lambda: all(read(service, one).finished_at for one in (exported, computed)))
    made, again = read(service, exported), read(service, computed)
    assert (made.state, again.state) == ("succeeded", "succeeded"), (made.message, again.message)
    with service.database.read() as session:
        export = chores.made(session, made.checkpoint_id, "sae_lens")
    assert export is not None
    assert export.folder.endswith("-e2")
    cfg = Path(service.settings.artifact_root) / export.folder / "sae_lens/cfg.json"
    assert json.loads(cfg.read_text())["architecture"] == "jumprelu"
    reported = service.rows(BiasSnapshotRow, run_id)[-1]
    assert again.snapshot is not None
    assert (again.snapshot.step, again.snapshot.statistics.model_dump(mode="json")) == (100, reported.statistics)
