"""The queue on both databases: how attempts end, fences, leases, retries."""

from __future__ import annotations

import threading
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from prolu.spec.report import Failed, LostWorker, Succeeded
from service.store import queue
from service.store.db import Database, database_now
from tests.service.store.operations import (
    attempt_of,
    claim,
    expire,
    kinds,
    lose,
    make_due,
    order,
    run_of,
    run_together,
    say,
    settle,
    state,
    submit,
    wait_out,
)
from tests.service.store.specs import checkpoint, metric


@pytest.mark.parametrize("repetition", range(5))
def test_of_two_dispatchers_that_end_one_attempt_one_wins(database: Database, owner_id: UUID, repetition: int) -> None:
    run_id = submit(database, owner_id)
    claim(database, run_id)
    together = threading.Barrier(2)
    results: dict[str, object] = {}

    def finish() -> None:
        together.wait()
        results["applied"] = say(database, run_id, 1, Succeeded(step=100, metrics={"l0": 1.0}))

    def give_up() -> None:
        together.wait()
        results["lost"] = lose(database, run_id, 1, "node_lost")

    run_together(finish, give_up)
    assert (results["applied"] is None) != (results["lost"] is None)
    assert state(database, run_id) == ("queued" if results["lost"] else "succeeded")


def test_the_first_report_moves_a_run_to_running(database: Database, owner_id: UUID) -> None:
    run_id = submit(database, owner_id)
    claim(database, run_id)
    assert say(database, run_id, 1) == 0
    assert state(database, run_id) == "starting"
    assert say(database, run_id, 1, metric(10)) == 1
    assert state(database, run_id) == "running"
    assert attempt_of(database, run_id, 1).node == "node-1"


def test_success_ends_run_and_attempt(database: Database, owner_id: UUID) -> None:
    run_id = submit(database, owner_id)
    claim(database, run_id)
    say(database, run_id, 1, metric(10), Succeeded(step=100, metrics={"l0": 3.5}))
    run, attempt = run_of(database, run_id), attempt_of(database, run_id, 1)
    assert (run.state, run.step, run.metrics) == ("succeeded", 100, {"l0": 3.5})
    assert run.finished_at == attempt.finished_at is not None
    assert (attempt.outcome, attempt.last_step) == ("succeeded", 100)
    assert kinds(database, run_id) == ["submitted", "claimed", "running", "succeeded"]
    with database.read() as session:
        assert queue.live(session) == []


def test_a_stale_epoch_cannot_finish_a_reclaimed_run(database: Database, owner_id: UUID) -> None:
    run_id = submit(database, owner_id)
    claim(database, run_id)
    assert lose(database, run_id, 1, "node_lost") == "queued"
    assert say(database, run_id, 1, metric(5)) is None
    (again,) = claim(database, run_id)
    assert again.epoch == 2
    assert say(database, run_id, 1, Succeeded(step=100, metrics={})) is None
    assert lose(database, run_id, 1, "node_lost") is None
    with database.begin() as session:
        assert not queue.mark_stopping(session, run_id, 1, reason="preempt")
    assert state(database, run_id) == "starting"
    assert attempt_of(database, run_id, 1).outcome == "lost"


def test_what_is_lost_without_blame_goes_back_to_its_place_in_the_queue(database: Database, owner_id: UUID) -> None:
    run_id = submit(database, owner_id)
    later = submit(database, owner_id)
    claim(database, run_id)
    assert lose(database, run_id, 1, "ray_infra", "node-7") == "queued"
    assert order(database) == [run_id, later]
    attempt = attempt_of(database, run_id, 1)
    assert (attempt.failure_class, attempt.node, attempt.message) == ("ray_infra", "node-7", "gone")
    assert kinds(database, run_id) == ["submitted", "claimed", "lost", "requeued"]


def test_a_gang_that_loses_a_worker_is_lost_where_that_one_was(database: Database, owner_id: UUID) -> None:
    run_id = submit(database, owner_id)
    claim(database, run_id)
    gone = LostWorker(node="10.0.0.2/b", exit_cause="SIGKILL")
    say(database, run_id, 1, Failed(step=3, failure_class="node_lost", message="Rank 1 of 2 is lost.", lost=gone))
    ended = attempt_of(database, run_id, 1)
    assert (ended.outcome, ended.failure_class, ended.node, ended.exit_cause) == (
        "lost",
        "node_lost",
        "10.0.0.2/b",
        "SIGKILL",
    )
    assert "lost" in kinds(database, run_id)


def test_a_new_attempt_resumes_from_the_furthest_checkpoint_of_any_earlier_one(
    database: Database, owner_id: UUID
) -> None:
    run_id = submit(database, owner_id)
    claim(database, run_id)
    say(database, run_id, 1, checkpoint(10), checkpoint(20))
    lose(database, run_id, 1, "node_lost")
    (second,) = claim(database, run_id)
    assert second.resume_from == "runs/r/e1/step-20"
    lose(database, run_id, 2, "node_lost")
    wait_out(database, run_id)
    (third,) = claim(database, run_id)
    assert third.resume_from == "runs/r/e1/step-20"
    assert attempt_of(database, run_id, 3).resumed_from_step == 20


def test_a_checkpoint_that_could_not_be_read_is_passed_over_down_to_none(database: Database, owner_id: UUID) -> None:
    run_id, other = submit(database, owner_id), submit(database, owner_id)
    claim(database, run_id)
    say(database, run_id, 1, checkpoint(10), checkpoint(20))
    lose(database, run_id, 1, "node_lost")
    resumed = []
    for epoch in (2, 3, 4):
        (taken,) = claim(database, run_id)
        resumed.append((taken.resume_from, attempt_of(database, run_id, epoch).resumed_from_step))
        unreadable = Failed(step=0, failure_class="bad_checkpoint", message="checksum")
        say(database, run_id, epoch, unreadable)
        wait_out(database, run_id)
    assert resumed == [("runs/r/e1/step-20", 20), ("runs/r/e1/step-10", 10), (None, None)]
    claim(database, other)
    say(database, other, 1, checkpoint(20))
    lose(database, other, 1, "node_lost")
    assert claim(database, other)[0].resume_from == "runs/r/e1/step-20", "the bad checkpoints were another run's"


def test_a_checkpoint_from_which_an_attempt_failed_otherwise_is_taken_again(database: Database, owner_id: UUID) -> None:
    run_id = submit(database, owner_id)
    claim(database, run_id)
    say(database, run_id, 1, checkpoint(20))
    lose(database, run_id, 1, "node_lost")
    claim(database, run_id)
    say(database, run_id, 2, Failed(step=20, failure_class="storage", message="disk full"))
    wait_out(database, run_id)
    assert claim(database, run_id)[0].resume_from == "runs/r/e1/step-20"


def test_a_failure_that_may_pass_waits_for_its_backoff_and_then_queues(database: Database, owner_id: UUID) -> None:
    run_id = submit(database, owner_id)
    claim(database, run_id)
    say(database, run_id, 1, Failed(step=5, failure_class="storage", message="disk full"))
    run = run_of(database, run_id)
    assert run.state == "retry_wait"
    assert run.not_before is not None
    assert run.finished_at is None
    with database.read() as session:
        pause = run.not_before - database_now(session)
    assert timedelta(seconds=10) < pause < timedelta(seconds=18)
    assert settle(database) == 0
    make_due(database, run_id)
    assert settle(database) == 1
    assert state(database, run_id) == "queued"
    assert order(database) == [run_id]


def test_the_retry_budget_ends(database: Database, owner_id: UUID) -> None:
    run_id = submit(database, owner_id)
    for epoch in (1, 2, 3, 4):
        claim(database, run_id)
        say(database, run_id, epoch, Failed(step=5, failure_class="host_oom", message="killed"))
        if epoch < 4:
            make_due(database, run_id)
            settle(database)
    run = run_of(database, run_id)
    assert (run.state, run.failure_class) == ("failed", "host_oom")
    assert "killed" in str(run.message)


def test_a_failure_that_would_happen_again_ends_the_run_and_keeps_its_checkpoints(
    database: Database, owner_id: UUID
) -> None:
    run_id = submit(database, owner_id)
    claim(database, run_id)
    failed = Failed(step=31, failure_class="nan_loss", message="loss is NaN", traceback_tail="tail\x00 \ud800")
    say(database, run_id, 1, checkpoint(20), failed)
    run, attempt = run_of(database, run_id), attempt_of(database, run_id, 1)
    assert (run.state, run.failure_class, run.step) == ("failed", "nan_loss", 31)
    assert attempt.traceback_tail == "tail� ?"
    with database.read() as session:
        assert session.scalar(text("SELECT count(*) FROM checkpoints")) == 1


def test_the_same_loss_on_three_nodes_fails_the_run(database: Database, owner_id: UUID) -> None:
    run_id = submit(database, owner_id)
    states = []
    for epoch, node in enumerate(["a", "b", "b", "c"], start=1):
        claim(database, run_id)
        states.append(lose(database, run_id, epoch, "ray_infra", node, exit_cause="SIGSEGV"))
        wait_out(database, run_id)
    assert states == ["queued", "retry_wait", "retry_wait", "failed"]


def test_workers_that_went_with_rays_head_on_three_nodes_fail_no_run(database: Database, owner_id: UUID) -> None:
    run_id = submit(database, owner_id)
    states = []
    for epoch, node in enumerate(["a", "b", "c"], start=1):
        claim(database, run_id)
        states.append(lose(database, run_id, epoch, "ray_infra", node))
        wait_out(database, run_id)
    assert states == ["queued", "retry_wait", "retry_wait"]


def test_three_nodes_that_are_lost_far_from_each_other_fail_no_run(database: Database, owner_id: UUID) -> None:
    run_id = submit(database, owner_id)
    states = []
    for epoch, node in enumerate(["a", "b", "c", "d"], start=1):
        claim(database, run_id)
        say(database, run_id, epoch, checkpoint(100 * epoch))
        states.append(lose(database, run_id, epoch, "node_lost", node))
        wait_out(database, run_id)
    assert "failed" not in states


def test_an_expired_lease_is_reaped_and_a_renewed_one_is_not(database: Database, owner_id: UUID) -> None:
    silent, heard = submit(database, owner_id), submit(database, owner_id)
    claim(database, silent, heard)
    say(database, silent, 1, metric(5))
    expire(database, silent)
    expire(database, heard)
    say(database, heard, 1)
    with database.begin() as session:
        assert queue.reap(session) == [(silent, 1)]
    assert attempt_of(database, silent, 1).failure_class == "lease_expired"
    assert state(database, silent) == "retry_wait"
    assert state(database, heard) == "starting"
    assert say(database, silent, 1, metric(10)) is None


def test_an_attempt_that_was_never_heard_of_is_lost_without_blame(database: Database, owner_id: UUID) -> None:
    run_id = submit(database, owner_id)
    claim(database, run_id, lease_seconds=-1)
    with database.begin() as session:
        assert queue.reap(session) == [(run_id, 1)]
    attempt = attempt_of(database, run_id, 1)
    assert (attempt.outcome, attempt.failure_class) == ("lost", "ray_infra")
    assert state(database, run_id) == "queued"
