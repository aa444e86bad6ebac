"""Texts from workers and from the cluster are the same on both databases, whatever is in them."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select

from prolu.spec.report import CheckpointFile, CheckpointWritten, Failed, LogLines, MetricPoint, Succeeded
from service.store import queue
from service.store.db import Database
from service.store.models import CheckpointRow, LogChunkRow, MetricPointRow
from tests.service.store.operations import attempt_of, claim, run_of, say, submit

ODD, SAID = "l0\x00\ud800", "l0�?"


def test_what_no_database_holds_is_replaced_wherever_it_is_reported(database: Database, owner_id: UUID) -> None:
    run_id = submit(database, owner_id)
    claim(database, run_id)
    file = CheckpointFile(name=ODD, bytes=1, sha256="0" * 64)
    say(
        database,
        run_id,
        1,
        MetricPoint(split="train", step=1, tokens=10, values={ODD: 1.0}),
        CheckpointWritten(step=10, tokens=100, path=ODD, files=[file], final=False),
        LogLines(text=ODD),
        Succeeded(step=100, metrics={ODD: 2.0}),
    )
    with database.read() as session:
        (point,) = session.scalars(select(MetricPointRow))
        (kept,) = session.scalars(select(CheckpointRow))
        (lines,) = session.scalars(select(LogChunkRow))
    assert (point.metrics, run_of(database, run_id).metrics) == ({SAID: 1.0}, {SAID: 2.0})
    assert (kept.path, kept.files[0]["name"], lines.text) == (SAID, SAID, SAID)


def test_a_failure_and_what_the_cluster_says_of_a_loss_are_told_too(database: Database, owner_id: UUID) -> None:
    run_id = submit(database, owner_id)
    claim(database, run_id)
    with database.begin() as session:
        queue.lose(session, run_id, 1, failure_class="node_lost", message=f"gone {ODD}", exit_cause=ODD, node="node-1")
    lost = attempt_of(database, run_id, 1)
    assert (lost.message, lost.exit_cause) == (f"gone {SAID}", SAID)
    claim(database, run_id)
    say(database, run_id, 2, Failed(step=1, failure_class="user_error", message=ODD, traceback_tail=ODD))
    failed = attempt_of(database, run_id, 2)
    assert (failed.message, failed.traceback_tail) == (SAID, SAID)
    assert run_of(database, run_id).message == f"Attempt 2 ended (user_error): {SAID}"
