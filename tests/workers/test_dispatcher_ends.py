"""How the dispatcher ends attempts: wishes, limits of time, drains, preemption; asked first, then by force."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from prolu.spec.report import (
    Stopped,
)
from service.store import nodes, queue, wishes
from service.store.models import AttemptRow
from tests.workers.lab import Lab, checkpoint, progress


def test_an_attempt_that_a_former_dispatcher_left_stopping_is_asked_again(lab: Lab):
    run_id = lab.training()
    with lab.database.begin() as session:
        queue.mark_stopping(session, run_id, 1, reason="preempt")  # and then it was killed
    lab.succeed(holder="another")
    lab.tick(2)
    assert lab.cluster.only.asked_to_stop == ["preempt"]


def test_a_wish_to_cancel_reaches_the_actor_and_ends_the_run(lab: Lab):
    run_id = lab.training()
    lab.wish_cancelled(run_id)
    lab.tick(3)
    assert lab.cluster.only.asked_to_stop == ["cancel"]
    assert lab.state(run_id) == "stopping"
    lab.say(lambda actor: checkpoint(actor, 4), Stopped(step=4, reason="cancel"))
    assert lab.state(run_id) == "cancelled"


def test_a_call_to_stop_that_was_lost_is_made_again_at_a_decent_pace(lab: Lab):
    run_id = lab.training()
    lab.wish_cancelled(run_id)
    lab.tick()
    lab.cluster.only.asked_to_stop.clear()  # it never came
    lab.clock.now += 1
    lab.tick()
    assert lab.cluster.only.asked_to_stop == []
    lab.clock.now += 1
    lab.tick(2)
    assert lab.cluster.only.asked_to_stop == ["cancel"]
    lab.end_grace()
    lab.tick()
    assert lab.state(run_id) == "cancelled", "the grace began with the first call"


def test_a_ray_that_does_not_take_a_call_to_stop_shortens_no_grace(lab: Lab):
    run_id = lab.training()
    lab.wish_cancelled(run_id)
    lab.cluster.out_of_reach_for = {str(run_id)}
    with pytest.raises(ConnectionError):
        lab.tick()
    lab.end_grace()
    lab.cluster.out_of_reach_for = set()
    lab.tick()
    assert (lab.state(run_id), lab.cluster.only.asked_to_stop) == ("stopping", ["cancel"])


def test_a_waiting_run_is_cancelled_without_an_actor(lab: Lab):
    lab.cluster.cpus = 0
    run_id = lab.submit()
    lab.tick()
    lab.wish_cancelled(run_id)
    lab.tick()
    assert lab.state(run_id) == "cancelled"


def test_an_actor_that_does_not_stop_is_ended_after_the_grace_period(lab: Lab):
    run_id = lab.training()
    lab.wish_cancelled(run_id)
    lab.tick()
    lab.end_grace()
    lab.tick()
    assert lab.state(run_id) == "cancelled"
    assert not lab.cluster.actors


def test_the_grace_begins_when_the_actor_is_asked_not_when_that_was_noted(lab: Lab):
    run_id = lab.training()
    with lab.database.begin() as session:
        queue.mark_stopping(session, run_id, 1, reason="preempt")  # and then the dispatcher was killed
    lab.make_old("stop_asked_at")
    lab.succeed(holder="another")
    lab.tick()
    assert (lab.state(run_id), lab.cluster.only.asked_to_stop) == ("stopping", ["preempt"])
    lab.end_grace()
    lab.tick()
    assert lab.state(run_id) in ("queued", "starting"), "ended by force"


def test_a_run_that_has_not_begun_is_cancelled_at_once(lab: Lab):
    run_id = lab.submit()
    lab.tick()
    lab.cluster.only.silent = True
    lab.wish_cancelled(run_id)
    lab.tick()
    assert lab.state(run_id) == "cancelled"
    assert not lab.cluster.actors


def test_a_run_that_makes_room_before_it_was_heard_goes_back_at_once_and_spends_no_retry(lab: Lab):
    run_id = lab.submit()
    lab.tick()
    lab.cluster.only.silent = True
    with lab.database.begin() as session:
        queue.mark_stopping(session, run_id, 1, reason="preempt")
    lab.tick()
    attempt = lab.attempt(run_id)
    assert (attempt.outcome, attempt.failure_class) == ("lost", "preempted")


def test_who_was_to_make_room_and_never_came_up_spends_no_retry_when_its_lease_runs_out(lab: Lab):
    run_id = lab.submit_and_claim(holder="one that is dead")
    with lab.database.begin() as session:
        queue.mark_stopping(session, run_id, 1, reason="preempt")
    lab.expire_leases()
    with lab.database.begin() as session:
        queue.reap(session)
    attempt = lab.attempt(run_id)
    assert (attempt.outcome, attempt.failure_class) == ("lost", "ray_infra")


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


def test_ends_are_counted_as_they_are_written(lab: Lab):
    """The wish at the end counts, and who never began is no loss."""
    lab.wish_cancelled(lab.submit_and_claim())
    lab.tick()
    assert lab.counted("dispatched_attempts", outcome="cancelled", failure_class="") == 1
    run_id = lab.training()
    lab.wish_cancelled(run_id)
    lab.say(Stopped(step=4, reason="preempt"))
    assert lab.state(run_id) == "cancelled"
    assert lab.counted("dispatched_attempts", outcome="cancelled", failure_class="") == 2
    lab.submit_and_claim(holder="one that is dead")
    lab.expire_leases()
    lab.listen(70)
    assert lab.counted("dispatched_attempts", outcome="lost", failure_class="ray_infra") == 1
    assert lab.counted("dispatched_attempts", outcome="lost", failure_class="lease_expired") == 0


def test_a_poll_without_news_renews_no_lease_while_much_of_it_is_left(lab: Lab):
    lab.training()
    renewed = lab.counted("lease_renewals")
    lab.tick(3)
    assert lab.counted("lease_renewals") == renewed
    lab.expire_leases()
    lab.tick()
    assert lab.counted("lease_renewals") == renewed + 1


def test_a_run_over_its_limit_checkpoints_and_fails_with_timeout(lab: Lab):
    run_id = lab.training(limits={"run_seconds": 60})
    lab.make_old("started_at")
    lab.tick()
    assert lab.cluster.only.asked_to_stop == ["timeout"]
    lab.say(lambda actor: checkpoint(actor, 4), Stopped(step=4, reason="timeout"))
    run = lab.run(run_id)
    assert (run.state, run.failure_class) == ("failed", "timeout")
    assert "limits.run_seconds (60)" in run.message


def test_a_run_over_its_limit_that_does_not_end_is_ended(lab: Lab):
    run_id = lab.training(limits={"run_seconds": 60})
    lab.make_old("started_at")
    lab.tick()
    lab.end_grace()
    lab.tick()
    assert (lab.state(run_id), lab.run(run_id).failure_class) == ("failed", "timeout")
    assert not lab.cluster.actors


def test_a_cancel_wins_over_a_timeout(lab: Lab):
    run_id = lab.training(limits={"run_seconds": 60})
    lab.make_old("started_at")
    lab.tick()
    lab.wish_cancelled(run_id)
    lab.say(Stopped(step=4, reason="timeout"))
    assert lab.state(run_id) == "cancelled"


def test_a_run_without_news_for_too_long_is_asked_to_end(lab: Lab):
    run_id = lab.training(limits={"no_progress_seconds": 60})
    lab.make_old("news_at")
    lab.tick()
    assert lab.cluster.only.asked_to_stop == [], "nobody has listened for so long yet"
    lab.listen(70)
    assert set(lab.cluster.only.asked_to_stop) == {"timeout"}
    assert lab.state(run_id) == "stopping"


def test_dispatchers_that_come_and_go_do_not_hide_who_has_nothing_to_say(lab: Lab):
    lab.training(limits={"no_progress_seconds": 7_200})
    lab.make_old("news_at")
    lab.succeed(holder="the next")
    lab.tick()
    assert lab.cluster.only.asked_to_stop == [], "it has not been listened to for a lease"
    lab.listen(70)
    assert set(lab.cluster.only.asked_to_stop) == {"timeout"}


def test_plans_without_a_start_are_no_claims(lab: Lab):
    lab.training()
    timed = lab.counted("claim_duration_seconds", suffix="count")
    lab.listen(60)
    assert lab.counted("claim_duration_seconds", suffix="count") == timed == 1


def test_a_worker_that_does_not_come_up_is_given_up_and_tried_again_after_a_pause(lab: Lab):
    run_id = lab.submit(limits={"start_seconds": 60})
    lab.tick()
    lab.cluster.only.silent = True
    lab.make_old("started_at")
    lab.tick()
    assert lab.run(run_id).epoch == 1, "nobody has listened for so long yet"
    lab.listen(70)
    with lab.database.read() as session:
        attempt = session.get_one(AttemptRow, (run_id, 1))
    assert (attempt.outcome, attempt.failure_class) == ("lost", "not_started")
    assert lab.state(run_id) == "retry_wait", "not at once: it would mostly not come up now either"
    lab.end_backoff()
    lab.listen(10)
    assert lab.run(run_id).epoch == 2


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
    run_id = lab.training()
    drain(lab, evict=True)
    lab.tick()
    assert lab.cluster.only.asked_to_stop == ["preempt"]
    lab.say(lambda actor: checkpoint(actor, 4), Stopped(step=4, reason="preempt"))
    assert (lab.state(run_id), lab.run(run_id).epoch) == ("queued", 1)


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


def test_a_preemptible_run_makes_room_for_a_higher_tier(lab: Lab):
    """Of one user too: tiers stand above shares."""
    low = lab.submit(resources={"cpus": 2})
    with lab.database.begin() as session:
        session.execute(text("UPDATE runs SET preemptible = true, tier = -1"))
    lab.tick()
    lab.say(progress(3))
    lab.make_old("started_at")
    high = lab.submit(resources={"cpus": 2})
    lab.tick(2)
    assert lab.cluster.only.asked_to_stop == ["preempt"]
    lab.say(lambda actor: checkpoint(actor, 4), Stopped(step=4, reason="preempt"))
    assert (lab.state(low), lab.state(high)) == ("queued", "starting")
