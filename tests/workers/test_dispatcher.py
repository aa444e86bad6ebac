"""The dispatcher against a real database and a cluster in memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

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
from service.store import queue
from service.store.db import Database
from service.store.models import RunRow
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
        with self.database.begin() as session:
            session.execute(
                text("UPDATE attempts SET stop_asked_at = '2000-01-01 00:00:00.000000' WHERE stop_asked_at IS NOT NULL")
            )

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
    lab.clock.now += 61
    lab.tick()
    assert lab.state(run_id) == "retry_wait"
    lab.tick()
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


def _already_ended() -> Any:
    import threading

    event = threading.Event()
    event.set()
    return event
