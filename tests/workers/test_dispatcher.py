"""The dispatcher against a real database and a cluster in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text, update

from prolu.spec import RunSpec
from prolu.spec.report import (
    CheckpointFile,
    CheckpointWritten,
    Failed,
    MetricPoint,
    Progress,
    Report,
    Stopped,
    Succeeded,
)
from service.settings import Settings
from service.store import nodes, queue, wishes
from service.store.db import Database
from service.store.models import AttemptRow, RunRow
from tests.workers.fake_cluster import FakeActor, FakeCluster
from workers.cluster import Loss
from workers.dispatcher import Dispatcher

SUCCEEDED = Succeeded(step=10, metrics={"l0": 3.0})


def spec(**changes: Any) -> RunSpec:
    return RunSpec.model_validate(
        {
            "data": {"kind": "synthetic", "d_in": 8},
            "sae": {"kind": "prolu", "d_sae": 16},
            "sparsity": {"kind": "l1", "coefficient": 0.001},
            "training": {"steps": 10},
            **changes,
        }
    )


def progress(done: int) -> Progress:
    return Progress(phase="training", done=done, total=10)


def checkpoint(actor: FakeActor, step: int) -> CheckpointWritten:
    attempt = actor.assignment.attempt
    return CheckpointWritten(
        step=step,
        tokens=step,
        path=f"runs/{attempt.run_id}/e{attempt.epoch}/step-{step}",
        files=[CheckpointFile(name="sae.safetensors", bytes=1, sha256="0" * 64)],
        final=False,
    )


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Lab:
    """A database, a fake cluster, and dispatchers that come and go."""

    def __init__(self, database: Database, folder: Path, owner_id: UUID) -> None:
        self.database = database
        self.cluster = FakeCluster()
        self.clock = Clock()
        self.folder = folder
        self.owner_id = owner_id
        self.dispatcher = self.new_dispatcher()

    def new_dispatcher(self, **changes: Any) -> Dispatcher:
        """Another dispatcher, beside the one that there is."""
        settings = Settings(data_dir=self.folder, lease_seconds=60, poll_seconds=0.01, **changes)
        return Dispatcher(self.database, self.cluster, settings, clock=self.clock)

    def succeed(self, **changes: Any) -> None:
        """The dispatcher was killed, its lead has run out, and another one takes its place."""
        self.expire_lead()
        self.dispatcher = self.new_dispatcher(**changes)

    def expire_lead(self) -> None:
        """What the passing of time would do."""
        with self.database.begin() as session:
            session.execute(text("UPDATE dispatcher SET lease_until = '2000-01-01 00:00:00.000000'"))

    def end_grace(self) -> None:
        """What the passing of time would do."""
        self.clock.now += 31

    def listen(self, seconds: float) -> None:
        """Let time pass in which the dispatcher polls."""
        until = self.clock.now + seconds
        while self.clock.now < until:
            self.clock.now += 10
            self.tick()

    def submit(self, **changes: Any) -> UUID:
        with self.database.begin() as session:
            return queue.submit_run(session, owner_id=self.owner_id, spec=spec(**changes), priority=50).id

    def tick(self, times: int = 1) -> None:
        for _ in range(times):
            self.dispatcher.tick()

    def say(self, *reports: Report | Callable[[FakeActor], Report]) -> None:
        actor = self.cluster.only
        actor.say(*[report(actor) if callable(report) else report for report in reports])
        self.tick()

    def run(self, run_id: UUID) -> Any:
        with self.database.read() as session:
            return session.get_one(RunRow, run_id)

    def attempt(self, run_id: UUID) -> AttemptRow:
        """The first attempt at a run."""
        with self.database.read() as session:
            return session.get_one(AttemptRow, (run_id, 1))

    def state(self, run_id: UUID) -> str:
        return str(self.run(run_id).state)

    def wish_cancelled(self, run_id: UUID) -> None:
        with self.database.begin() as session:
            queue.request_cancel(session, run_id)

    def end_backoff(self) -> None:
        """What the passing of time would do."""
        with self.database.begin() as session:
            session.execute(
                text("UPDATE runs SET not_before = '2000-01-01 00:00:00.000000' WHERE not_before IS NOT NULL")
            )

    def expire_leases(self) -> None:
        """What the passing of time would do."""
        with self.database.begin() as session:
            session.execute(text("UPDATE attempts SET lease_until = '2000-01-01 00:00:00.000000'"))


@pytest.fixture
def lab(database: Database, tmp_path: Path, owner_id: UUID) -> Lab:
    return Lab(database, tmp_path, owner_id)


def test_a_submitted_run_is_started_heard_and_finished(lab: Lab):
    run_id = lab.submit()
    lab.tick()
    assert lab.state(run_id) == "starting"
    lab.say(progress(5))
    assert (lab.state(run_id), lab.run(run_id).step) == ("running", 5)
    lab.say(MetricPoint(split="held_out", step=10, tokens=10, values={"l0": 3.0}), SUCCEEDED)
    assert lab.state(run_id) == "succeeded"
    assert not lab.cluster.actors, "the actor of a finished run is ended"


def test_an_actor_gets_the_spec_as_submitted_and_its_own_epoch(lab: Lab):
    run_id = lab.submit(name="mine")
    lab.tick()
    assignment = lab.cluster.only.assignment
    assert RunSpec.model_validate_json(assignment.spec) == spec(name="mine")
    assert assignment.attempt == (str(run_id), 1)
    assert assignment.resume_from is None


def test_a_run_whose_worker_dies_goes_on_from_its_last_accepted_checkpoint(lab: Lab):
    run_id = lab.submit()
    lab.tick()
    lab.say(progress(6), lambda actor: checkpoint(actor, 5))
    lab.cluster.only.loss = Loss("ray_infra", "The worker process died.")
    lab.tick()
    assignment = lab.cluster.only.assignment
    assert assignment.attempt == (str(run_id), 2)
    assert assignment.resume_from == f"runs/{run_id}/e1/step-5"


def test_what_the_cluster_says_of_the_end_of_a_process_is_kept_with_the_attempt(lab: Lab):
    run_id = lab.submit()
    lab.tick()
    lab.say(progress(1))
    lab.cluster.only.loss = Loss("ray_infra", "The worker process died.", "pid: 17 Worker exits with an exit code 3.")
    lab.tick()
    with lab.database.read() as session:
        attempt = session.get_one(AttemptRow, (run_id, 1))
    assert (attempt.outcome, attempt.exit_cause) == ("lost", "pid: 17 Worker exits with an exit code 3.")


def test_a_checkpoint_that_cannot_be_read_is_passed_over_for_the_one_before(lab: Lab):
    run_id = lab.submit()
    lab.tick()
    lab.say(progress(9), lambda actor: checkpoint(actor, 4), lambda actor: checkpoint(actor, 8))
    lab.cluster.only.loss = Loss("ray_infra", "The worker process died.")
    lab.tick()
    assert lab.cluster.only.assignment.resume_from == f"runs/{run_id}/e1/step-8"
    lab.say(Failed(step=0, failure_class="bad_checkpoint", message="sae.safetensors was altered."))
    lab.end_backoff()
    lab.tick()
    assert lab.cluster.only.assignment.resume_from == f"runs/{run_id}/e1/step-4"


def test_a_new_dispatcher_adopts_the_actors_of_the_old_one(lab: Lab):
    run_id = lab.submit()
    lab.tick()
    lab.say(progress(3))
    actor = lab.cluster.only
    lab.succeed(holder="another")
    lab.say(progress(7))
    assert lab.cluster.only is actor
    assert (lab.state(run_id), lab.run(run_id).step, lab.run(run_id).epoch) == ("running", 7, 1)


def test_a_run_whose_actor_has_vanished_is_started_again(lab: Lab):
    run_id = lab.submit()
    lab.tick()
    lab.say(progress(3))
    lab.cluster.actors.clear()
    lab.tick(2)
    assert lab.cluster.only.assignment.attempt == (str(run_id), 2)


def test_an_attempt_that_another_dispatcher_has_just_claimed_is_left_to_it(lab: Lab):
    run_id = lab.submit()
    lab.tick()
    lab.cluster.actors.clear()  # claimed by another one, who has not started the actor yet
    lab.succeed(holder="another")
    lab.tick(2)
    assert (lab.state(run_id), lab.run(run_id).epoch) == ("starting", 1)


def test_an_actor_of_no_live_attempt_is_ended(lab: Lab):
    run_id = lab.submit()
    lab.tick()
    name, zombie = next(iter(lab.cluster.actors.items()))
    lab.say(SUCCEEDED)
    assert not lab.cluster.actors
    lab.cluster.actors[name] = zombie  # a process that came back
    lab.tick()
    assert not lab.cluster.actors
    assert lab.state(run_id) == "succeeded"


def test_an_actor_of_somebody_else_in_our_namespace_is_left_alone(lab: Lab):
    lab.submit()
    lab.tick()
    name, actor = lab.cluster.actors.popitem()
    lab.cluster.actors.update({"somebody-elses": actor, name: actor})
    lab.tick()
    assert "somebody-elses" not in lab.cluster.killed


def test_a_silent_attempt_is_reaped_when_its_lease_has_passed(lab: Lab):
    run_id = lab.submit()
    lab.tick()
    lab.say(progress(3))
    lab.cluster.only.silent = True
    lab.expire_leases()
    lab.listen(70)
    assert lab.state(run_id) == "retry_wait"
    assert not lab.cluster.actors, "its process is ended, in case it wakes"


def test_a_run_that_ray_has_no_room_for_yet_keeps_its_lease(lab: Lab):
    run_id = lab.submit()
    lab.tick()
    lab.cluster.only.silent = True
    for _ in range(3):
        lab.expire_leases()
        lab.clock.now += 61
        lab.tick()
    assert (lab.state(run_id), lab.run(run_id).epoch) == ("starting", 1)


def test_a_run_that_ray_refuses_to_start_fails_alone_and_says_why(lab: Lab):
    refused, fine = lab.submit(), lab.submit()
    lab.cluster.refused = {str(refused)}
    lab.tick()
    assert (lab.state(refused), lab.run(refused).failure_class) == ("failed", "user_error")
    assert "precision" in lab.run(refused).message
    lab.say(progress(3))
    assert lab.state(fine) == "running"


def test_words_that_nobody_can_store_end_their_own_attempt_and_hold_up_no_other(lab: Lab):
    strange, fine = lab.submit(), lab.submit()
    lab.tick()
    for actor in lab.cluster.actors.values():
        actor.gibberish = actor.assignment.attempt.run_id == str(strange)
        actor.say(progress(3))
    lab.tick()
    assert (lab.state(strange), lab.run(strange).failure_class) == ("failed", "internal_error")
    assert lab.state(fine) == "running"


def test_an_attempt_that_a_former_dispatcher_left_stopping_is_asked_again(lab: Lab):
    run_id = lab.submit()
    lab.tick()
    lab.say(progress(3))
    with lab.database.begin() as session:
        queue.mark_stopping(session, run_id, 1, reason="preempt")  # and then it was killed
    lab.succeed(holder="another")
    lab.tick(2)
    assert lab.cluster.only.asked_to_stop == ["preempt"]


def test_leases_that_ran_out_while_nobody_listened_prove_nothing(lab: Lab):
    run_id = lab.submit()
    lab.tick()
    lab.say(progress(3))
    lab.expire_leases()
    lab.clock.now += 1_000
    lab.succeed(holder="after the outage")
    lab.cluster.only.silent = True
    lab.tick()
    assert lab.state(run_id) == "running", "no answer yet is no proof of death"
    lab.cluster.only.silent = False
    lab.say(progress(9))
    assert (lab.state(run_id), lab.run(run_id).epoch) == ("running", 1)


def test_a_wish_to_cancel_reaches_the_actor_once_and_ends_the_run(lab: Lab):
    run_id = lab.submit()
    lab.tick()
    lab.say(progress(3))
    lab.wish_cancelled(run_id)
    lab.tick(3)
    assert lab.cluster.only.asked_to_stop == ["cancel"]
    assert lab.state(run_id) == "stopping"
    lab.say(lambda actor: checkpoint(actor, 4), Stopped(step=4, reason="cancel"))
    assert lab.state(run_id) == "cancelled"


def test_a_waiting_run_is_cancelled_without_an_actor(lab: Lab):
    lab.cluster.cpus = 0
    run_id = lab.submit()
    lab.tick()
    lab.wish_cancelled(run_id)
    lab.tick()
    assert lab.state(run_id) == "cancelled"


def test_an_actor_that_does_not_stop_is_ended_after_the_grace_period(lab: Lab):
    run_id = lab.submit()
    lab.tick()
    lab.say(progress(3))
    lab.wish_cancelled(run_id)
    lab.tick()
    lab.end_grace()
    lab.tick()
    assert lab.state(run_id) == "cancelled"
    assert not lab.cluster.actors


def test_draining_sends_every_run_back_to_the_queue_with_its_checkpoint(lab: Lab):
    run_id = lab.submit()
    waiting = lab.submit(resources={"cpus": 2})
    lab.tick()
    lab.say(progress(3))
    actor = lab.cluster.only
    actor.say(checkpoint(actor, 3), Stopped(step=3, reason="preempt"))
    lab.dispatcher.drain()
    assert (lab.state(run_id), lab.state(waiting)) == ("queued", "queued")
    assert not lab.cluster.actors, "nothing new is started while draining"
    lab.succeed()
    lab.tick()
    assert lab.cluster.only.assignment.resume_from == f"runs/{run_id}/e1/step-3"


def test_no_more_runs_start_than_the_cluster_holds(lab: Lab):
    run_ids = [lab.submit() for _ in range(5)]
    lab.tick(3)
    assert [lab.state(run_id) for run_id in run_ids] == ["starting"] * 2 + ["queued"] * 3


def test_a_lost_database_ends_nothing_and_is_waited_for(lab: Lab, tmp_path: Path):
    run_id = lab.submit()
    lab.tick()
    lab.say(progress(3))
    missing = Database(f"sqlite:///{tmp_path / 'no' / 'such' / 'folder' / 'x.db'}")
    reachable, lab.dispatcher._database = lab.dispatcher._database, missing
    assert lab.dispatcher._turn(_already_ended()) is False
    lab.dispatcher._database = reachable
    lab.expire_leases()
    lab.clock.now += 30
    lab.tick()
    assert (lab.state(run_id), lab.run(run_id).epoch) == ("running", 1)


def _already_ended() -> threading.Event:
    event = threading.Event()
    event.set()
    return event


def test_of_two_dispatchers_one_works_and_the_other_waits(lab: Lab):
    run_id = lab.submit()
    standby = lab.new_dispatcher(holder="standby")
    lab.tick()
    standby.tick()
    assert (lab.state(run_id), len(lab.cluster.actors)) == ("starting", 1)
    lab.cluster.only.say(progress(3))
    standby.tick()
    assert lab.state(run_id) == "starting", "who does not lead hears nobody"
    lab.expire_lead()
    standby.tick()
    assert (lab.state(run_id), lab.run(run_id).epoch) == ("running", 1), "who takes over adopts what lives"
    lab.clock.now += 11
    lab.tick()
    lab.cluster.only.say(SUCCEEDED)
    lab.tick()
    assert lab.state(run_id) == "running", "who lost the lead has noticed"
    standby.tick()
    assert lab.state(run_id) == "succeeded"


def test_who_was_replaced_without_noticing_starts_nothing(lab: Lab):
    lab.tick()
    lab.expire_lead()
    lab.new_dispatcher(holder="standby").tick()
    run_id = lab.submit()
    lab.tick()
    assert lab.state(run_id) == "queued"


def test_who_ends_gives_up_the_lead(lab: Lab):
    lab.tick()
    lab.dispatcher.run(_already_ended())
    run_id = lab.submit()
    lab.dispatcher = lab.new_dispatcher(holder="next")
    lab.tick()
    assert lab.state(run_id) == "starting"


def make_old(lab: Lab, *columns: str) -> None:
    """What the passing of time would do to the live attempts."""
    with lab.database.begin() as session:
        session.execute(update(AttemptRow).values(dict.fromkeys(columns, datetime(2000, 1, 1, tzinfo=UTC))))


def test_a_run_over_its_limit_checkpoints_and_fails_with_timeout(lab: Lab):
    run_id = lab.submit(limits={"run_seconds": 60})
    lab.tick()
    lab.say(progress(3))
    make_old(lab, "started_at")
    lab.tick()
    assert lab.cluster.only.asked_to_stop == ["timeout"]
    lab.say(lambda actor: checkpoint(actor, 4), Stopped(step=4, reason="timeout"))
    run = lab.run(run_id)
    assert (run.state, run.failure_class) == ("failed", "timeout")
    assert "limits.run_seconds (60)" in run.message


def test_a_run_over_its_limit_that_does_not_end_is_ended(lab: Lab):
    run_id = lab.submit(limits={"run_seconds": 60})
    lab.tick()
    lab.say(progress(3))
    make_old(lab, "started_at")
    lab.tick()
    lab.end_grace()
    lab.tick()
    assert (lab.state(run_id), lab.run(run_id).failure_class) == ("failed", "timeout")
    assert not lab.cluster.actors


def test_a_cancel_wins_over_a_timeout(lab: Lab):
    run_id = lab.submit(limits={"run_seconds": 60})
    lab.tick()
    lab.say(progress(3))
    make_old(lab, "started_at")
    lab.tick()
    lab.wish_cancelled(run_id)
    lab.say(Stopped(step=4, reason="timeout"))
    assert lab.state(run_id) == "cancelled"


def test_a_run_without_news_for_too_long_is_asked_to_end(lab: Lab):
    run_id = lab.submit(limits={"no_progress_seconds": 60})
    lab.tick()
    lab.say(progress(3))
    make_old(lab, "news_at")
    lab.tick()
    assert lab.cluster.only.asked_to_stop == [], "nobody has listened for so long yet"
    lab.listen(70)
    assert lab.cluster.only.asked_to_stop == ["timeout"]
    assert lab.state(run_id) == "stopping"


def test_a_worker_that_does_not_come_up_is_given_up_free_of_charge(lab: Lab):
    run_id = lab.submit(limits={"start_seconds": 60})
    lab.tick()
    lab.cluster.only.silent = True
    make_old(lab, "started_at")
    lab.tick()
    assert lab.run(run_id).epoch == 1, "nobody has listened for so long yet"
    lab.listen(70)
    with lab.database.read() as session:
        attempt = session.get_one(AttemptRow, (run_id, 1))
    assert (attempt.outcome, attempt.failure_class) == ("lost", "ray_infra")
    assert lab.run(run_id).epoch == 2, "tried again at once"


def drain(lab: Lab, *, evict: bool) -> None:
    with lab.database.begin() as session:
        nodes.drain(session, "node-a", evict=evict, reason=None)


def test_a_draining_node_starts_nothing_and_lets_what_runs_there_end(lab: Lab):
    first = lab.submit()
    lab.tick()
    lab.say(progress(3))
    drain(lab, evict=False)
    second = lab.submit()
    lab.tick(2)
    assert (lab.state(first), lab.state(second)) == ("running", "queued")
    assert lab.cluster.only.asked_to_stop == []
    with lab.database.begin() as session:
        nodes.undrain(session, "node-a")
    lab.clock.now += 6
    lab.tick()
    assert lab.state(second) == "starting"


def test_a_node_that_is_cleared_sends_its_runs_back_to_the_queue(lab: Lab):
    run_id = lab.submit()
    lab.tick()
    lab.say(progress(3))
    drain(lab, evict=True)
    lab.tick()
    assert lab.cluster.only.asked_to_stop == ["preempt"]
    lab.say(lambda actor: checkpoint(actor, 4), Stopped(step=4, reason="preempt"))
    assert (lab.state(run_id), lab.run(run_id).epoch) == ("queued", 1)


def test_a_run_that_has_not_begun_is_cancelled_at_once(lab: Lab):
    run_id = lab.submit()
    lab.tick()
    lab.cluster.only.silent = True
    lab.wish_cancelled(run_id)
    lab.tick()
    assert lab.state(run_id) == "cancelled"
    assert not lab.cluster.actors


def test_a_preemptible_run_makes_room_for_a_higher_tier(lab: Lab):
    """Of one user too: tiers stand above shares."""
    low = lab.submit(resources={"cpus": 2})
    with lab.database.begin() as session:
        session.execute(text("UPDATE runs SET preemptible = true, tier = -1"))
    lab.tick()
    lab.say(progress(3))
    make_old(lab, "started_at")
    high = lab.submit(resources={"cpus": 2})
    lab.tick(2)
    assert lab.cluster.only.asked_to_stop == ["preempt"]
    lab.say(lambda actor: checkpoint(actor, 4), Stopped(step=4, reason="preempt"))
    assert (lab.state(low), lab.state(high)) == ("queued", "starting")


def test_while_the_database_is_away_the_actors_are_kept_company(lab: Lab, tmp_path: Path):
    lab.submit()
    lab.tick()
    lab.say(progress(3))
    missing = Database(f"sqlite:///{tmp_path / 'no' / 'such' / 'folder' / 'x.db'}")
    lab.dispatcher._database = missing
    polls = lab.cluster.polls
    lab.dispatcher._turn(_already_ended())
    assert lab.cluster.polls == polls + 1


def test_a_submission_is_noticed_between_two_polls(lab: Lab):
    """The dispatcher polls once a minute here, and starts the run all the same."""
    ended = threading.Event()
    dispatcher = lab.new_dispatcher(holder="slow")
    dispatcher._settings = dispatcher._settings.model_copy(update={"poll_seconds": 60.0})
    thread = threading.Thread(target=dispatcher.run, args=(ended,))
    thread.start()
    try:
        lab.cluster.polled.wait(20)
        run_id = lab.submit()
        assert lab.cluster.started.wait(20)
        assert lab.state(run_id) == "starting"
    finally:
        ended.set()
        thread.join()


def test_a_dispatcher_that_slept_gives_up_nobody_for_what_it_has_not_heard(lab: Lab):
    run_id = lab.submit(limits={"no_progress_seconds": 60})
    lab.tick()
    lab.say(progress(3))
    lab.listen(70)
    lab.expire_leases()
    make_old(lab, "news_at")
    lab.cluster.only.silent = True
    lab.clock.now += 3_600
    lab.tick()
    assert (lab.state(run_id), lab.cluster.only.asked_to_stop) == ("running", [])


def test_the_grace_begins_when_the_actor_is_asked_not_when_that_was_noted(lab: Lab):
    run_id = lab.submit()
    lab.tick()
    lab.say(progress(3))
    with lab.database.begin() as session:
        queue.mark_stopping(session, run_id, 1, reason="preempt")  # and then the dispatcher was killed
    make_old(lab, "stop_asked_at")
    lab.succeed(holder="another")
    lab.tick()
    assert (lab.state(run_id), lab.cluster.only.asked_to_stop) == ("stopping", ["preempt"])
    lab.end_grace()
    lab.tick()
    assert lab.state(run_id) in ("queued", "starting"), "ended by force"


def test_a_database_that_is_lost_right_after_an_end_ends_no_dispatcher(lab: Lab, tmp_path: Path):
    """The actor of the end is in hand no more when the others are kept company."""
    lab.submit()
    lab.tick()
    lab.say(progress(3))
    lab.cluster.only.say(SUCCEEDED)
    missing = Database(f"sqlite:///{tmp_path / 'no' / 'such' / 'folder' / 'x.db'}")
    whole, lab.dispatcher._serve = lab.dispatcher._serve, lambda: _look(missing)
    assert lab.dispatcher._turn(_already_ended()) is False
    lab.dispatcher._serve = whole
    assert lab.dispatcher._turn(_already_ended()) is True


def _look(database: Database) -> None:
    with database.read() as session:
        session.execute(text("SELECT * FROM runs"))


def test_a_ray_that_does_not_take_one_order_takes_the_next(lab: Lab):
    unlucky, fine = lab.submit(), lab.submit()
    lab.cluster.out_of_reach_for = {str(unlucky)}
    lab.tick()
    assert (lab.state(unlucky), lab.state(fine)) == ("queued", "starting")
    assert lab.attempt(unlucky).failure_class == "ray_infra"


def test_pauses_by_force_count_against_nobody(lab: Lab):
    run_id = lab.submit()
    for _ in range(25):
        lab.tick()
        with lab.database.begin() as session:
            wishes.request_pause(session, run_id)
        lab.tick()
        assert lab.state(run_id) == "paused"
        with lab.database.begin() as session:
            wishes.request_resume(session, run_id)
    attempt = lab.attempt(run_id)
    assert (attempt.outcome, attempt.failure_class) == ("paused", None)
