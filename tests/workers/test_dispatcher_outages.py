"""Dispatchers that come, go, sleep and take over, and what they do while the database or Ray is away."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text

from service.settings import Settings
from service.store.db import Database
from tests.postgres import PostgresServer
from tests.workers.lab import SUCCEEDED, Lab, already_ended, progress
from workers.metrics import DispatcherMetrics
from workers.starting import Starter


def test_a_new_dispatcher_adopts_the_actors_of_the_old_one(lab: Lab):
    run_id = lab.training()
    actor = lab.cluster.only
    lab.succeed(holder="another")
    lab.say(progress(7))
    assert lab.cluster.only is actor
    assert (lab.state(run_id), lab.run(run_id).step, lab.run(run_id).epoch) == ("running", 7, 1)


def test_a_run_whose_actor_has_vanished_is_started_again(lab: Lab):
    run_id = lab.training()
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


def test_two_dispatchers_of_one_name_do_not_take_each_other_for_themselves(lab: Lab):
    lab.succeed(holder="clone")
    lab.tick()
    namesake = lab.new_dispatcher(holder="clone")
    run_id = lab.submit()
    namesake.tick()
    assert lab.state(run_id) == "queued"
    lab.tick()
    assert lab.state(run_id) == "starting"


def test_who_was_replaced_without_noticing_starts_nothing(lab: Lab):
    lab.tick()
    lab.expire_lead()
    lab.new_dispatcher(holder="standby").tick()
    run_id = lab.submit()
    lab.tick()
    assert lab.state(run_id) == "queued"


def test_who_ends_gives_up_the_lead(lab: Lab):
    lab.tick()
    lab.dispatcher.run(already_ended())
    run_id = lab.submit()
    lab.dispatcher = lab.new_dispatcher(holder="next")
    lab.tick()
    assert lab.state(run_id) == "starting"


def test_leases_that_ran_out_while_nobody_listened_prove_nothing(lab: Lab):
    run_id = lab.training()
    lab.expire_leases()
    lab.clock.now += 1_000
    lab.succeed(holder="after the outage")
    lab.cluster.only.silent = True
    lab.tick()
    assert lab.state(run_id) == "running", "no answer yet is no proof of death"
    lab.cluster.only.silent = False
    lab.say(progress(9))
    assert (lab.state(run_id), lab.run(run_id).epoch) == ("running", 1)


def test_a_dispatcher_that_slept_gives_up_nobody_for_what_it_has_not_heard(lab: Lab):
    run_id = lab.training(limits={"no_progress_seconds": 60})
    lab.listen(70)
    lab.expire_leases()
    lab.make_old("news_at")
    lab.cluster.only.silent = True
    lab.clock.now += 3_600
    lab.tick()
    assert (lab.state(run_id), lab.cluster.only.asked_to_stop) == ("running", [])


def test_a_dispatcher_that_stands_still_while_it_listens_gives_up_nobody(lab: Lab):
    run_id = lab.training()
    lab.listen(70)
    lab.expire_leases()
    lab.cluster.only.silent = True
    lab.cluster.while_polling = lambda: lab.clock.sleep(3_600)
    lab.tick()
    assert lab.state(run_id) == "running"


def test_slow_turns_over_a_short_lease_still_give_up_the_silent(lab: Lab):
    lab.dispatcher = lab.new_dispatcher(holder="hasty", lease_seconds=4)
    lab.expire_lead()
    run_id = lab.training()
    lab.cluster.only.silent = True
    for _ in range(6):
        lab.clock.now += 1.9
        lab.expire_leases()
        lab.tick()
    assert lab.state(run_id) == "retry_wait"


def test_who_does_not_lead_claims_nothing_that_it_has_planned(lab: Lab):
    lab.tick()
    run_id = lab.submit()
    settings = Settings(data_dir=lab.folder, holder="one that led")
    Starter(lab.database, lab.cluster, settings, DispatcherMetrics()).start()
    assert lab.state(run_id) == "queued"
    lab.tick()
    assert lab.state(run_id) == "starting"


def test_a_lost_database_ends_nothing_and_is_waited_for(lab: Lab, tmp_path: Path):
    run_id = lab.training()
    missing = Database(f"sqlite:///{tmp_path / 'no' / 'such' / 'folder' / 'x.db'}")
    reachable, lab.dispatcher._database = lab.dispatcher._database, missing
    assert lab.dispatcher._turn(already_ended()) is False
    lab.dispatcher._database = reachable
    lab.expire_leases()
    lab.clock.now += 30
    lab.tick()
    assert (lab.state(run_id), lab.run(run_id).epoch) == ("running", 1)


def test_while_the_database_is_away_the_actors_are_kept_company(lab: Lab, tmp_path: Path):
    lab.training()
    missing = Database(f"sqlite:///{tmp_path / 'no' / 'such' / 'folder' / 'x.db'}")
    lab.dispatcher._database = missing
    polls = lab.cluster.polls
    lab.dispatcher._turn(already_ended())
    assert lab.cluster.polls == polls + 1


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_while_postgresql_hangs_the_actors_are_kept_company_and_nothing_fails(
    database_url: str, owner_id: UUID, tmp_path: Path, postgres_server: PostgresServer
):
    database = Database(database_url, patience_seconds=0.2)
    lab = Lab(database, tmp_path, owner_id)
    run_id = lab.training()
    with postgres_server.hanging():
        lab.cluster.only.say(progress(5))
        polls = lab.cluster.polls
        assert lab.dispatcher._turn(already_ended()) is False
        assert lab.cluster.polls == polls + 1
    lab.expire_leases()
    lab.clock.now += 30
    lab.say(progress(7))
    assert (lab.state(run_id), lab.run(run_id).step, lab.run(run_id).epoch) == ("running", 7, 1)
    database.dispose()


def test_a_database_that_is_lost_right_after_an_end_ends_no_dispatcher(lab: Lab, tmp_path: Path):
    """The actor of the end is in hand no more when the others are kept company."""
    lab.training()
    lab.cluster.only.say(SUCCEEDED)
    missing = Database(f"sqlite:///{tmp_path / 'no' / 'such' / 'folder' / 'x.db'}")
    whole, lab.dispatcher._serve = lab.dispatcher._serve, lambda: _look(missing)
    assert lab.dispatcher._turn(already_ended()) is False
    lab.dispatcher._serve = whole
    assert lab.dispatcher._turn(already_ended()) is True


def _look(database: Database) -> None:
    with database.read() as session:
        session.execute(text("SELECT * FROM runs"))


def test_a_ray_that_does_not_take_one_order_takes_the_next(lab: Lab):
    unlucky, fine = lab.submit(), lab.submit()
    lab.cluster.out_of_reach_for = {str(unlucky)}
    lab.tick()
    assert (lab.state(unlucky), lab.state(fine)) == ("queued", "starting")
    assert lab.attempt(unlucky).failure_class == "ray_infra"
