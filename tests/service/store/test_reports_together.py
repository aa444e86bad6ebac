"""What many attempts report in one transaction is stored as if each had come alone, with few statements."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import pytest
from sqlalchemy import event, func, select

from prolu.spec.report import Failed, Progress, Report, Stopped, Succeeded
from service.domain.planning.shares import charge_per_second
from service.store import queue, reports
from service.store.db import Database
from service.store.models import EventRow, MetricPointRow, RunRow, UsageRow
from service.store.reports import Delivery
from tests.service.store.operations import attempt_of, claim, kinds, run_together, state, submit
from tests.service.store.specs import checkpoint, metric

END = Succeeded(step=100, metrics={"l0": 1.0})


@pytest.fixture
def run_ids(database: Database, owner_id: UUID) -> list[UUID]:
    submitted = [submit(database, owner_id) for _ in range(6)]
    claim(database, *submitted)
    return submitted


def deliver(database: Database, *deliveries: Delivery) -> dict[tuple[UUID, int], int | None]:
    """What is stored of each attempt by now."""
    with database.begin() as session:
        applied = reports.apply_all(session, deliveries, lease_seconds=60)
    return {key: one and one.last_seq for key, one in applied.items()}


def said(run_id: UUID, *messages: Report, epoch: int = 1, node: str | None = "a", first: int = 1) -> Delivery:
    return Delivery(run_id, epoch, node, list(enumerate(messages, start=first)))


@contextmanager
def counted(database: Database) -> Iterator[list[str]]:
    """The statements that go to the database meanwhile, but for the events: SQLite takes those one by one."""
    statements: list[str] = []

    def note(*arguments: object) -> None:
        statement = str(arguments[2])
        if "INTO events" not in statement:
            statements.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(database.engine, "before_cursor_execute", note)


def test_each_attempt_gets_what_it_would_get_alone(database: Database, run_ids: list[UUID]) -> None:
    one, two, three, four, five, six = run_ids
    with database.begin() as session:
        queue.lose(session, five, 1, failure_class="node_lost", message="gone")
    found = deliver(
        database,
        said(six, metric(10), checkpoint(20), END),
        said(two, Failed(step=7, failure_class="nan_loss", message="NaN")),
        said(one, metric(10), metric(10, 2.0)),
        said(three, Stopped(step=3, reason="preempt")),
        said(four, node=None),
        said(five, metric(10)),
    )
    assert found == {(one, 1): 2, (two, 1): 1, (three, 1): 1, (four, 1): 0, (five, 1): None, (six, 1): 3}
    assert [state(database, run_id) for run_id in run_ids] == [
        "running",
        "failed",
        "queued",
        "starting",
        "queued",
        "succeeded",
    ]
    assert kinds(database, six) == ["submitted", "claimed", "running", "succeeded"]
    assert kinds(database, five)[-1] == "requeued"
    with database.read() as session:
        rows = session.execute(select(MetricPointRow.run_id, MetricPointRow.metrics)).all()
    assert {row.run_id: row.metrics for row in rows} == {one: {"l0": 2.0}, six: {"l0": 1.0}}
    assert attempt_of(database, four, 1).node is None


def test_all_attempts_that_end_together_are_charged(database: Database, run_ids: list[UUID]) -> None:
    with database.begin() as session:
        for row in session.scalars(select(RunRow)):
            row.gpus = 1.0
    deliver(database, *(said(run_id, END) for run_id in run_ids[:4]))
    took = sum(
        ((ended := attempt_of(database, run_id, 1)).finished_at - ended.started_at).total_seconds()  # type: ignore[operator]
        for run_id in run_ids[:4]
    )
    with database.read() as session:
        assert session.scalar(select(func.sum(UsageRow.gpu_seconds))) == pytest.approx(
            took * charge_per_second(cpus=1, gpus=1.0)
        )


def test_a_batch_that_fails_charges_nothing_and_leaves_the_session_as_it_was(
    database: Database, run_ids: list[UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down() -> None:
        with database.begin() as session:
            monkeypatch.setattr(reports, "_finite", lambda _: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                reports.apply_all(session, [said(run_ids[0], END)], lease_seconds=60)
            assert session.info == {}
            raise RuntimeError("undone")

    with pytest.raises(RuntimeError, match="undone"):
        break_down()
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(UsageRow)) == 0
    assert state(database, run_ids[0]) == "starting"


def test_the_statements_do_not_grow_with_the_attempts(database: Database, run_ids: list[UUID]) -> None:
    talk: list[Report] = [metric(10), checkpoint(20), Progress(phase="training", done=30, total=100), END]
    with counted(database) as alone:
        deliver(database, said(run_ids[0], *talk))
    with counted(database) as together:
        deliver(database, *(said(run_id, *talk) for run_id in run_ids[1:]))
    assert len(together) == len(alone)


def test_a_delivery_that_names_an_attempt_twice_ends_with_the_outcome(database: Database, run_ids: list[UUID]) -> None:
    deliver(database, said(run_ids[0], END), said(run_ids[0], metric(110), first=2))
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(MetricPointRow)) == 0
        assert session.scalar(select(func.count()).select_from(EventRow).where(EventRow.kind == "succeeded")) == 1


def test_two_who_deliver_the_same_attempts_in_opposite_orders_do_not_block_each_other(
    database: Database, run_ids: list[UUID]
) -> None:
    together = threading.Barrier(2)

    def several_times(order: list[UUID], first: int) -> None:
        for seq in range(first, first + 20):
            together.wait()
            deliver(database, *(said(run_id, metric(seq), first=seq) for run_id in order))

    run_together(lambda: several_times(run_ids, 1), lambda: several_times(run_ids[::-1], 1))
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(MetricPointRow)) == 20 * len(run_ids)
