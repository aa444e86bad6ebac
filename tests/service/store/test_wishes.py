"""The queue on both databases: cancel, pause, preemption."""

from __future__ import annotations

from uuid import UUID

import pytest

from prolu.spec.report import Stopped, Succeeded
from service.domain.errors import IllegalTransition, NotFound
from service.store import queue
from service.store.db import Database
from tests.service.store.operations import (
    NOBODY,
    attempt_of,
    cancel,
    claim,
    kinds,
    lose,
    run_of,
    say,
    settle,
    state,
    submit,
    wish,
)
from tests.service.store.specs import checkpoint, metric


def test_cancelling_a_waiting_run_is_granted_by_the_dispatcher(database: Database, owner_id: UUID) -> None:
    run_id = submit(database, owner_id)
    cancel(database, run_id)
    assert state(database, run_id) == "queued"
    assert settle(database) == 1
    run = run_of(database, run_id)
    assert run.state == "cancelled"
    assert run.finished_at is not None
    assert kinds(database, run_id) == ["submitted", "cancel_requested", "cancelled"]


def test_cancelling_during_a_backoff_ends_the_wait(database: Database, owner_id: UUID) -> None:
    run_id = submit(database, owner_id)
    claim(database, run_id)
    lose(database, run_id, 1, "storage")
    cancel(database, run_id)
    assert settle(database) == 1
    assert state(database, run_id) == "cancelled"


def test_cancelling_a_live_run_waits_for_its_attempt_to_stop(database: Database, owner_id: UUID) -> None:
    run_id = submit(database, owner_id)
    claim(database, run_id)
    say(database, run_id, 1, metric(10))
    cancel(database, run_id)
    assert settle(database) == 0
    with database.begin() as session:
        assert queue.mark_stopping(session, run_id, 1, reason="cancel")
        assert not queue.mark_stopping(session, run_id, 1, reason="cancel")
    assert state(database, run_id) == "stopping"
    say(database, run_id, 1, checkpoint(12), Stopped(step=12, reason="cancel"), start=2)
    assert state(database, run_id) == "cancelled"
    assert attempt_of(database, run_id, 1).outcome == "cancelled"


def test_a_run_that_is_lost_while_its_end_is_wished_is_cancelled(database: Database, owner_id: UUID) -> None:
    run_id = submit(database, owner_id)
    claim(database, run_id)
    cancel(database, run_id)
    assert lose(database, run_id, 1, "node_lost") == "cancelled"


def test_a_run_that_succeeds_before_it_can_be_cancelled_has_succeeded(database: Database, owner_id: UUID) -> None:
    run_id = submit(database, owner_id)
    claim(database, run_id)
    cancel(database, run_id)
    with database.begin() as session:
        queue.mark_stopping(session, run_id, 1, reason="cancel")
    say(database, run_id, 1, Succeeded(step=100, metrics={}))
    assert state(database, run_id) == "succeeded"


@pytest.mark.parametrize("reason", ["preempt", "orphaned"])
def test_a_preempted_run_goes_back_to_the_queue_and_resumes(database: Database, owner_id: UUID, reason: str) -> None:
    run_id = submit(database, owner_id)
    claim(database, run_id)
    say(database, run_id, 1, checkpoint(12), Stopped(step=12, reason=reason))  # type: ignore[arg-type]
    assert state(database, run_id) == "queued"
    assert attempt_of(database, run_id, 1).outcome == "preempted"
    (second,) = claim(database, run_id)
    assert second.resume_from == "runs/r/e1/step-12"


def test_a_paused_run_rests_until_it_is_wished_to_run(database: Database, owner_id: UUID) -> None:
    run_id = submit(database, owner_id)
    claim(database, run_id)
    wish(database, run_id, "paused")
    say(database, run_id, 1, Stopped(step=12, reason="pause"))
    assert state(database, run_id) == "paused"
    assert settle(database) == 0
    wish(database, run_id, "running")
    assert settle(database) == 1
    assert state(database, run_id) == "queued"


def test_cancelling_twice_is_cancelling_once(database: Database, owner_id: UUID) -> None:
    run_id = submit(database, owner_id)
    cancel(database, run_id)
    cancel(database, run_id)
    settle(database)
    cancel(database, run_id)
    assert kinds(database, run_id).count("cancel_requested") == 1


def test_a_finished_run_cannot_be_cancelled(database: Database, owner_id: UUID) -> None:
    run_id = submit(database, owner_id)
    claim(database, run_id)
    say(database, run_id, 1, Succeeded(step=100, metrics={}))
    with pytest.raises(IllegalTransition, match="already finished \\(succeeded\\)"):
        cancel(database, run_id)
    with pytest.raises(NotFound):
        cancel(database, NOBODY)
    assert settle(database) == 0
