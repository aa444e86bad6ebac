"""Reports become rows once, whatever is delivered how often."""

from __future__ import annotations

import math
from uuid import UUID

import pytest
from sqlalchemy import func, select

from prolu.spec.report import Failed, MetricPoint, Progress, Report, Stopped, Succeeded
from service.store import queue, reports
from service.store.db import Database, database_now
from service.store.models import (
    AttemptRow,
    BiasSnapshotRow,
    CheckpointRow,
    DiagnosticsRow,
    EventRow,
    MetricPointRow,
    RunRow,
)
from tests.service.store.specs import checkpoint, diagnostics, full_snapshot, metric, run_spec, snapshot


@pytest.fixture
def run_id(database: Database, owner_id: UUID) -> UUID:
    with database.begin() as session:
        run = queue.submit_run(session, owner_id=owner_id, spec=run_spec(), priority=50)
        queue.claim(session, [run.id], holder="test", lease_seconds=60)
        return run.id


def deliver(database: Database, run_id: UUID, messages: list[tuple[int, Report]], epoch: int = 1) -> int | None:
    with database.begin() as session:
        return reports.apply(session, run_id, epoch, messages, lease_seconds=60, node=None)


def points(database: Database, run_id: UUID) -> list[tuple[int, dict[str, float], int]]:
    with database.read() as session:
        rows = session.scalars(
            select(MetricPointRow).where(MetricPointRow.run_id == run_id).order_by(MetricPointRow.step)
        )
        return [(row.step, row.metrics, row.epoch) for row in rows]


def test_a_replayed_batch_writes_nothing_twice(database: Database, run_id: UUID) -> None:
    batch: list[tuple[int, Report]] = [(1, metric(10)), (2, snapshot(10)), (3, checkpoint(10)), (4, metric(20))]
    assert deliver(database, run_id, batch) == 4
    assert deliver(database, run_id, batch) == 4
    assert deliver(database, run_id, [*batch, (5, metric(30))]) == 5
    with database.read() as session:
        for table, rows in ((MetricPointRow, 3), (BiasSnapshotRow, 1), (CheckpointRow, 1)):
            assert session.scalar(select(func.count()).select_from(table)) == rows


def test_an_old_message_cannot_overwrite_a_newer_one(database: Database, run_id: UUID) -> None:
    deliver(database, run_id, [(1, metric(10, 1.0)), (2, metric(10, 2.0))])
    deliver(database, run_id, [(1, metric(10, 1.0))])
    assert points(database, run_id) == [(10, {"l0": 2.0}, 1)]


def test_messages_out_of_order_are_put_in_order(database: Database, run_id: UUID) -> None:
    assert deliver(database, run_id, [(2, metric(10, 2.0)), (1, metric(10, 1.0))]) == 2
    assert points(database, run_id) == [(10, {"l0": 2.0}, 1)]


def test_a_gap_is_a_progress_report_that_was_superseded(database: Database, run_id: UUID) -> None:
    assert deliver(database, run_id, [(1, metric(10)), (7, metric(20))]) == 7
    assert len(points(database, run_id)) == 2


def test_a_resumed_attempt_replaces_the_points_that_it_repeats(database: Database, run_id: UUID) -> None:
    deliver(database, run_id, [(1, metric(10)), (2, metric(20)), (3, snapshot(20))])
    with database.begin() as session:
        queue.lose(session, run_id, 1, failure_class="node_lost", message="gone")
        queue.claim(session, [run_id], holder="test", lease_seconds=60)
    deliver(database, run_id, [(1, metric(20)), (2, snapshot(20)), (3, metric(30))], epoch=2)
    assert [(step, epoch) for step, _, epoch in points(database, run_id)] == [(10, 1), (20, 2), (30, 2)]


def test_nothing_is_written_after_the_outcome(database: Database, run_id: UUID) -> None:
    end = Succeeded(step=100, metrics={"l0": 1.0})
    assert deliver(database, run_id, [(1, end), (2, metric(110))]) == 1
    assert deliver(database, run_id, [(2, metric(110))]) is None
    assert points(database, run_id) == []


def test_a_poll_without_news_renews_a_lease_once_a_fifth_of_it_is_gone(database: Database, run_id: UUID) -> None:
    def lease_after_poll(lease_seconds: float) -> float:
        with database.begin() as session:
            reports.apply(session, run_id, 1, [], lease_seconds=lease_seconds, node=None)
            left = session.get_one(AttemptRow, (run_id, 1)).lease_until - database_now(session)
            return left.total_seconds()

    assert 50 < lease_after_poll(60) <= 60
    assert 50 < lease_after_poll(70) <= 60
    assert 90 < lease_after_poll(100) <= 100


def test_progress_shows_the_phase_and_the_step(database: Database, run_id: UUID) -> None:
    deliver(database, run_id, [(1, Progress(phase="extracting", done=500, total=1000))])
    with database.read() as session:
        run = session.get_one(RunRow, run_id)
        assert (run.phase, run.done, run.total, run.step) == ("extracting", 500, 1000, 0)
    deliver(database, run_id, [(2, Progress(phase="training", done=42, total=100))])
    with database.read() as session:
        assert session.get_one(RunRow, run_id).step == 42


@pytest.mark.parametrize(
    "end",
    [Failed(step=0, failure_class="host_oom", message="killed"), Stopped(step=0, reason="preempt")],
    ids=["failed", "stopped"],
)
def test_an_attempt_that_ends_right_after_a_resume_does_not_take_back_the_step(
    database: Database, run_id: UUID, end: Report
) -> None:
    deliver(database, run_id, [(1, checkpoint(40)), (2, metric(55))])
    with database.begin() as session:
        queue.lose(session, run_id, 1, failure_class="node_lost", message="gone")
        queue.claim(session, [run_id], holder="test", lease_seconds=60)
    deliver(database, run_id, [(1, end)], epoch=2)
    with database.read() as session:
        assert session.get_one(RunRow, run_id).step == 40
        assert session.get_one(AttemptRow, (run_id, 2)).last_step == 40


@pytest.mark.parametrize(
    "end",
    [Failed(step=0, failure_class="storage", message="no space"), Stopped(step=0, reason="preempt")],
    ids=["failed", "stopped"],
)
@pytest.mark.parametrize("known", [metric(55), checkpoint(55)], ids=["metric", "checkpoint"])
def test_an_outcome_that_names_an_earlier_step_does_not_take_back_what_the_attempt_reported(
    database: Database, run_id: UUID, known: Report, end: Report
) -> None:
    deliver(database, run_id, [(1, known), (2, end)])
    with database.read() as session:
        assert session.get_one(RunRow, run_id).step == 55
        assert session.get_one(AttemptRow, (run_id, 1)).last_step == 55


def test_a_metric_that_is_not_finite_is_left_out(database: Database, run_id: UUID) -> None:
    values = {"l0": 1.5, "mse": math.nan, "fvu": math.inf}
    deliver(database, run_id, [(1, MetricPoint(split="train", step=5, tokens=50, values=values))])
    assert points(database, run_id) == [(5, {"l0": 1.5}, 1)]


def test_bias_statistics_that_are_not_finite_are_refused_with_an_event(database: Database, run_id: UUID) -> None:
    assert deliver(database, run_id, [(1, snapshot(10, mean=math.nan)), (2, snapshot(20))]) == 2
    with database.read() as session:
        assert session.scalars(select(BiasSnapshotRow.step)).all() == [20]
        refused = session.scalars(select(EventRow).where(EventRow.kind == "report_refused")).one()
    assert refused.detail == {"report": "bias_snapshot", "step": 10, "why": "not finite"}


def test_a_snapshot_is_kept_whole_and_in_brief(database: Database, run_id: UUID) -> None:
    deliver(database, run_id, [(1, snapshot(10))])
    with database.read() as session:
        row = session.scalars(select(BiasSnapshotRow)).one()
    assert row.statistics == snapshot(10).statistics.model_dump()
    assert row.summary == {
        "fraction_negative": 0.9375,
        "fraction_zero": 0.0,
        "fraction_positive": 0.0625,
        "mean": -0.5,
        "std": 0.1,
        "min": -1.0,
        "max": 0.25,
        "median": -0.5,
    }


def test_everything_that_a_snapshot_may_tell_is_kept_as_it_came(database: Database, run_id: UUID) -> None:
    deliver(database, run_id, [(1, full_snapshot(10))])
    with database.read() as session:
        row = session.scalars(select(BiasSnapshotRow)).one()
    assert row.statistics == full_snapshot(10).statistics.model_dump()


def test_diagnostics_are_kept_once_for_each_step_and_the_last_word_counts(database: Database, run_id: UUID) -> None:
    deliver(database, run_id, [(1, diagnostics(50)), (2, diagnostics(100, 0.5)), (3, diagnostics(100, 0.75))])
    with database.read() as session:
        rows = session.scalars(select(DiagnosticsRow).order_by(DiagnosticsRow.step)).all()
    assert [(row.step, row.epoch) for row in rows] == [(50, 1), (100, 1)]
    assert rows[1].measured == diagnostics(100, 0.75).model_dump(exclude={"kind", "step"})


def test_diagnostics_that_are_not_finite_are_refused_with_an_event(database: Database, run_id: UUID) -> None:
    assert deliver(database, run_id, [(1, diagnostics(10, math.nan)), (2, metric(20))]) == 2
    with database.read() as session:
        assert session.scalars(select(DiagnosticsRow)).all() == []
        refused = session.scalars(select(EventRow).where(EventRow.kind == "report_refused")).one()
    assert refused.detail == {"report": "diagnostics", "step": 10, "why": "not finite"}


def test_a_checkpoint_is_accepted_with_its_files(database: Database, run_id: UUID) -> None:
    deliver(database, run_id, [(1, checkpoint(10, final=True))])
    with database.read() as session:
        row = session.scalars(select(CheckpointRow)).one()
    assert (row.step, row.bytes, row.final, row.path) == (10, 5, True, "runs/r/e1/step-10")
    assert row.files == [{"name": "sae.safetensors", "bytes": 5, "sha256": "0" * 64}]


def test_a_batch_that_fails_midway_writes_nothing(database: Database, run_id: UUID) -> None:
    def fail_midway() -> None:
        with database.begin() as session:
            reports.apply(session, run_id, 1, [(1, metric(10))], lease_seconds=60, node=None)
            raise RuntimeError("midway")

    with pytest.raises(RuntimeError, match="midway"):
        fail_midway()
    assert points(database, run_id) == []
    assert deliver(database, run_id, [(1, metric(10))]) == 1
