"""The queue on both databases: order, fences, leases, wishes, contention."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import select, text, update

from prolu.client.wire import NodeRead
from prolu.spec.report import Failed, Stopped, Succeeded
from service.domain.errors import IllegalTransition, NotFound
from service.domain.expansion import expand
from service.store import queue, reports
from service.store.db import Database, database_now
from service.store.models import AttemptRow, EventRow, RunRow
from tests.service.store.specs import checkpoint, metric, run_spec, sweep_spec

NOBODY = UUID(int=0)


def submit(database: Database, owner_id: UUID, *, priority: int = 50, **changes: object) -> UUID:
    with database.begin() as session:
        return queue.submit_run(session, owner_id=owner_id, spec=run_spec(**changes), priority=priority).id


def claim(database: Database, *run_ids: UUID, lease_seconds: float = 60) -> list[queue.Claim]:
    with database.begin() as session:
        return queue.claim(session, run_ids, holder="test", lease_seconds=lease_seconds)


def say(database: Database, run_id: UUID, epoch: int, *messages: object, start: int = 1) -> int | None:
    numbered = list(enumerate(messages, start=start))
    with database.begin() as session:
        return reports.apply(session, run_id, epoch, numbered, lease_seconds=60, node="node-1")  # type: ignore[arg-type]


def lose(database: Database, run_id: UUID, epoch: int, failure_class: str, node: str | None = None) -> str | None:
    with database.begin() as session:
        return queue.lose(session, run_id, epoch, failure_class=failure_class, message="gone", node=node)  # type: ignore[arg-type]


def cancel(database: Database, run_id: UUID) -> None:
    with database.begin() as session:
        queue.request_cancel(session, run_id)


def settle(database: Database) -> int:
    with database.begin() as session:
        return queue.settle(session)


def run_of(database: Database, run_id: UUID) -> RunRow:
    with database.read() as session:
        return session.get_one(RunRow, run_id)


def state(database: Database, run_id: UUID) -> str:
    return run_of(database, run_id).state


def attempt_of(database: Database, run_id: UUID, epoch: int) -> AttemptRow:
    with database.read() as session:
        return session.get_one(AttemptRow, (run_id, epoch))


def kinds(database: Database, run_id: UUID) -> list[str]:
    with database.read() as session:
        return list(session.scalars(select(EventRow.kind).where(EventRow.run_id == run_id).order_by(EventRow.id)))


def candidates(database: Database, limit: int = 100) -> list[UUID]:
    with database.read() as session:
        return [candidate.run_id for candidate in queue.candidates(session, limit=limit)]


def test_higher_priority_goes_first_and_equals_go_in_order_of_submission(database: Database, owner_id: UUID) -> None:
    first = submit(database, owner_id)
    urgent = submit(database, owner_id, priority=90)
    second = submit(database, owner_id)
    idle = submit(database, owner_id, priority=0)
    assert candidates(database) == [urgent, first, second, idle]
    assert candidates(database, limit=2) == [urgent, first]


def test_a_sweep_enters_the_queue_in_the_order_of_its_points(database: Database, owner_id: UUID) -> None:
    spec = sweep_spec(4, max_concurrent=2)
    with database.begin() as session:
        sweep = queue.submit_sweep(session, owner_id=owner_id, spec=spec, points=expand(spec), priority=10)
    with database.read() as session:
        waiting = queue.candidates(session, limit=10)
        points = [session.get_one(RunRow, candidate.run_id).point for candidate in waiting]
    assert points == [0, 1, 2, 3]
    assert {candidate.sweep_id for candidate in waiting} == {sweep.id}
    assert {candidate.max_concurrent for candidate in waiting} == {2}
    assert kinds(database, waiting[0].run_id) == ["submitted"]


def test_a_saturated_sweep_does_not_hide_the_runs_behind_it(database: Database, owner_id: UUID) -> None:
    spec = sweep_spec(5, max_concurrent=1)
    with database.begin() as session:
        queue.submit_sweep(session, owner_id=owner_id, spec=spec, points=expand(spec), priority=50)
    behind = submit(database, owner_id)
    claim(database, candidates(database)[0])
    assert candidates(database, limit=1) == [behind]


def test_a_claim_gives_epoch_lease_and_spec(database: Database, owner_id: UUID) -> None:
    run_id = submit(database, owner_id)
    (taken,) = claim(database, run_id)
    assert (taken.run_id, taken.epoch, taken.resume_from) == (run_id, 1, None)
    assert taken.spec == run_spec()
    assert taken.actor_name.startswith(queue.ACTOR_PREFIX)
    assert state(database, run_id) == "starting"
    with database.read() as session:
        (live,) = queue.live(session)
        remaining = session.get_one(AttemptRow, (run_id, 1)).lease_until - database_now(session)
    assert (live.run_id, live.epoch, live.holder, live.actor_name) == (run_id, 1, "test", taken.actor_name)
    assert timedelta(seconds=50) < remaining <= timedelta(seconds=60)


def test_claims_come_in_the_order_asked_for(database: Database, owner_id: UUID) -> None:
    runs = [submit(database, owner_id) for _ in range(5)]
    backwards = runs[::-1]
    assert [taken.run_id for taken in claim(database, *backwards)] == backwards


def test_a_run_is_claimed_once(database: Database, owner_id: UUID) -> None:
    run_id = submit(database, owner_id)
    assert len(claim(database, run_id)) == 1
    assert claim(database, run_id) == []
    assert claim(database) == []
    assert claim(database, NOBODY) == []


def test_a_run_whose_end_is_wished_is_not_claimed(database: Database, owner_id: UUID) -> None:
    run_id = submit(database, owner_id)
    cancel(database, run_id)
    assert candidates(database) == []
    assert claim(database, run_id) == []


def test_claimers_at_the_same_moment_never_get_the_same_run(database: Database, owner_id: UUID) -> None:
    runs = [submit(database, owner_id) for _ in range(40)]
    taken: list[UUID] = []
    lock = threading.Lock()
    together = threading.Barrier(8)

    def work() -> None:
        together.wait()
        for start in range(0, 40, 4):
            mine = [found.run_id for found in claim(database, *runs[start : start + 4])]
            with lock:
                taken.extend(mine)

    _run_together(*[work] * 8)
    assert sorted(taken) == sorted(runs)
    with database.read() as session:
        assert len(queue.live(session)) == 40


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

    _run_together(finish, give_up)
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
        assert not queue.mark_stopping(session, run_id, 1)
    assert state(database, run_id) == "starting"
    assert attempt_of(database, run_id, 1).outcome == "lost"


def test_what_is_lost_without_blame_goes_back_to_its_place_in_the_queue(database: Database, owner_id: UUID) -> None:
    run_id = submit(database, owner_id)
    later = submit(database, owner_id)
    claim(database, run_id)
    assert lose(database, run_id, 1, "ray_infra", "node-7") == "queued"
    assert candidates(database) == [run_id, later]
    attempt = attempt_of(database, run_id, 1)
    assert (attempt.failure_class, attempt.node, attempt.message) == ("ray_infra", "node-7", "gone")
    assert kinds(database, run_id) == ["submitted", "claimed", "lost", "requeued"]


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
    _wait_out(database, run_id)
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
        _wait_out(database, run_id)
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
    _wait_out(database, run_id)
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
    _make_due(database, run_id)
    assert settle(database) == 1
    assert state(database, run_id) == "queued"
    assert candidates(database) == [run_id]


def test_the_retry_budget_ends(database: Database, owner_id: UUID) -> None:
    run_id = submit(database, owner_id)
    for epoch in (1, 2, 3, 4):
        claim(database, run_id)
        say(database, run_id, epoch, Failed(step=5, failure_class="host_oom", message="killed"))
        if epoch < 4:
            _make_due(database, run_id)
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
        states.append(lose(database, run_id, epoch, "node_lost", node))
        _wait_out(database, run_id)
    assert states == ["queued", "retry_wait", "retry_wait", "failed"]


def test_an_expired_lease_is_reaped_and_a_renewed_one_is_not(database: Database, owner_id: UUID) -> None:
    silent, heard = submit(database, owner_id), submit(database, owner_id)
    claim(database, silent, heard)
    say(database, silent, 1, metric(5))
    _expire(database, silent)
    _expire(database, heard)
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
        assert queue.mark_stopping(session, run_id, 1)
        assert not queue.mark_stopping(session, run_id, 1)
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
        queue.mark_stopping(session, run_id, 1)
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
    _wish(database, run_id, "paused")
    say(database, run_id, 1, Stopped(step=12, reason="pause"))
    assert state(database, run_id) == "paused"
    assert settle(database) == 0
    _wish(database, run_id, "running")
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


def test_a_run_whose_stored_spec_is_no_longer_valid_fails_alone(database: Database, owner_id: UUID) -> None:
    good, bad = submit(database, owner_id), submit(database, owner_id)
    with database.begin() as session:
        session.execute(update(RunRow).where(RunRow.id == bad).values(spec={"version": 0}))
    assert [taken.run_id for taken in claim(database, bad, good)] == [good]
    assert run_of(database, bad).state == "failed"
    assert "submit it anew" in str(run_of(database, bad).message)


def test_the_cluster_is_remembered_as_last_seen(database: Database) -> None:
    small, large = (
        NodeRead(name="a", cpus=2, gpus=0, memory_gb=8),
        NodeRead(name="b", cpus=64, gpus=8, memory_gb=512.5),
    )
    for seen in ([small], [small, large], [large]):
        with database.begin() as session:
            queue.record_nodes(session, seen)
        with database.read() as session:
            assert queue.nodes(session) == seen


def _make_due(database: Database, run_id: UUID) -> None:
    with database.begin() as session:
        past = database_now(session) - timedelta(seconds=1)
        session.execute(update(RunRow).where(RunRow.id == run_id).values(not_before=past))


def _wait_out(database: Database, run_id: UUID) -> None:
    """Let the pause before the next attempt pass, if there is one."""
    _make_due(database, run_id)
    settle(database)


def _expire(database: Database, run_id: UUID) -> None:
    with database.begin() as session:
        past = database_now(session) - timedelta(seconds=1)
        session.execute(update(AttemptRow).where(AttemptRow.run_id == run_id).values(lease_until=past))


def _wish(database: Database, run_id: UUID, desired: str) -> None:
    with database.begin() as session:
        session.execute(update(RunRow).where(RunRow.id == run_id).values(desired_state=desired))


def _run_together(*jobs: Callable[[], None]) -> None:
    failures: list[BaseException] = []

    def guarded(job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
