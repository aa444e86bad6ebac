"""Whatever is done to a run in whatever order: what must always hold, holds."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update

from prolu.spec.report import Failed, Report, Stopped, Succeeded
from service.domain.errors import IllegalTransition
from service.domain.lifecycle import LIVE, MOVES, TERMINAL
from service.store import queue, reports
from service.store.db import Database, database_now
from service.store.models import AttemptRow, EventRow, RunRow
from tests.service.store.specs import checkpoint, metric, run_spec

OUTCOMES: list[Report] = [
    Succeeded(step=100, metrics={}),
    Failed(step=1, failure_class="nan_loss", message="NaN"),
    Failed(step=1, failure_class="storage", message="full"),
    Stopped(step=1, reason="cancel"),
    Stopped(step=1, reason="pause"),
    Stopped(step=1, reason="preempt"),
]
OPERATIONS = st.one_of(
    st.tuples(st.sampled_from(["claim", "cancel", "settle", "stop", "reap", "expire"]), st.none()),
    st.tuples(st.just("wish"), st.sampled_from(["running", "paused"])),
    st.tuples(st.just("lose"), st.sampled_from(["node_lost", "host_oom", "user_error"])),
    st.tuples(st.sampled_from(["say", "say_stale"]), st.sampled_from([metric(1), checkpoint(1), *OUTCOMES])),
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=st.lists(OPERATIONS, max_size=30))
def test_any_order_of_events_leaves_the_queue_consistent(
    database: Database, owner_id: UUID, operations: list[tuple[str, Any]]
) -> None:
    with database.begin() as session:
        run_id = queue.submit_run(session, owner_id=owner_id, spec=run_spec(), priority=50).id
    before = _look(database, run_id)
    for operation, argument in operations:
        _do(database, run_id, before, operation, argument)
        after = _look(database, run_id)
        _check(before, after)
        before = after
    _check_events(database, run_id, before)


def _do(database: Database, run_id: UUID, run: RunRow, operation: str, argument: Any) -> None:
    with database.begin() as session:
        match operation:
            case "claim":
                queue.claim(session, [run_id], holder="test", lease_seconds=60)
            case "cancel":
                try:
                    queue.request_cancel(session, run_id)
                except IllegalTransition:
                    assert run.state in TERMINAL
            case "wish":
                if run.state not in TERMINAL and run.desired_state != "cancelled":
                    session.execute(update(RunRow).where(RunRow.id == run_id).values(desired_state=argument))
            case "settle":
                past = database_now(session) - timedelta(seconds=1)
                session.execute(update(RunRow).where(RunRow.state == "retry_wait").values(not_before=past))
                queue.settle(session)
            case "stop":
                queue.mark_stopping(session, run_id, run.epoch, reason="preempt")
            case "expire":
                past = database_now(session) - timedelta(seconds=1)
                session.execute(update(AttemptRow).where(AttemptRow.run_id == run_id).values(lease_until=past))
            case "reap":
                queue.reap(session)
            case "lose":
                queue.lose(session, run_id, run.epoch, failure_class=argument, message="gone")
            case "say":
                attempt = session.get(AttemptRow, (run_id, run.epoch))
                seq = attempt.last_seq + 1 if attempt else 1
                accepted = reports.apply(session, run_id, run.epoch, [(seq, argument)], lease_seconds=60, node=None)
                assert (accepted is None) == (run.state not in LIVE)
            case "say_stale":
                stale = run.epoch - 1
                assert reports.apply(session, run_id, stale, [(99, argument)], lease_seconds=60, node=None) is None


def _look(database: Database, run_id: UUID) -> RunRow:
    with database.read() as session:
        run = session.get_one(RunRow, run_id)
        attempts = session.scalars(
            select(AttemptRow).where(AttemptRow.run_id == run_id).order_by(AttemptRow.epoch)
        ).all()
    assert [attempt.epoch for attempt in attempts] == list(range(1, run.epoch + 1))
    unfinished = [attempt.epoch for attempt in attempts if attempt.finished_at is None]
    assert unfinished == ([run.epoch] if run.state in LIVE else [])
    assert all((attempt.outcome is None) == (attempt.finished_at is None) for attempt in attempts)
    assert (run.finished_at is not None) == (run.state in TERMINAL)
    assert (run.not_before is not None) == (run.state == "retry_wait")
    assert (run.failure_class is not None) == (run.state == "failed")
    return run


def _check(before: RunRow, after: RunRow) -> None:
    assert after.epoch in (before.epoch, before.epoch + 1)
    if before.state in TERMINAL:
        assert (after.state, after.epoch, after.finished_at) == (before.state, before.epoch, before.finished_at)
    if before.desired_state == "cancelled":
        assert after.desired_state == "cancelled"
        assert after.epoch == before.epoch


def _check_events(database: Database, run_id: UUID, run: RunRow) -> None:
    """The events tell the whole story: replaying them through the table of moves ends in the present state."""
    targets = {rule.event: rule.target for rule in MOVES.values()}
    with database.read() as session:
        kinds = session.scalars(select(EventRow.kind).where(EventRow.run_id == run_id).order_by(EventRow.id)).all()
    states = [targets[kind] for kind in kinds if kind in targets]
    assert (states[-1] if states else "queued") == run.state
