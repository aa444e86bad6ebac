"""The dispatcher against a real database and a cluster in memory: how runs start, are heard and finish."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from prolu.spec import RunSpec
from prolu.spec.report import (
    Failed,
    MetricPoint,
)
from service.store.models import AttemptRow
from tests.workers.lab import SUCCEEDED, Lab, checkpoint, progress, spec
from workers.cluster import Loss


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
    run_id = lab.training()
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


def test_no_more_runs_start_than_the_cluster_holds(lab: Lab):
    run_ids = [lab.submit() for _ in range(5)]
    lab.tick(3)
    assert [lab.state(run_id) for run_id in run_ids] == ["starting"] * 2 + ["queued"] * 3


@contextmanager
def polling_once_a_minute(lab: Lab) -> Iterator[None]:
    """A dispatcher at work in a thread of its own, beyond its first poll."""
    ended = threading.Event()
    dispatcher = lab.new_dispatcher(holder="slow")
    dispatcher._settings = dispatcher._settings.model_copy(update={"poll_seconds": 60.0})
    thread = threading.Thread(target=dispatcher.run, args=(ended,))
    thread.start()
    try:
        assert lab.cluster.polled.wait(20)
        yield
    finally:
        ended.set()
        thread.join()


def test_a_submission_is_noticed_between_two_polls(lab: Lab):
    with polling_once_a_minute(lab):
        run_id = lab.submit()
        assert lab.cluster.started.wait(20)
        assert lab.state(run_id) == "starting"


def test_a_submission_is_noticed_while_an_actor_comes_up_that_answers_nothing_yet(lab: Lab):
    lab.submit()
    lab.tick()
    lab.cluster.only.silent = True
    lab.expire_lead()
    lab.cluster.started.clear()
    with polling_once_a_minute(lab):
        run_id = lab.submit()
        assert lab.cluster.started.wait(20)
        assert lab.state(run_id) == "starting"
