"""The queue on both databases: order, claims, contention, the cluster."""

from __future__ import annotations

import threading
from datetime import timedelta
from uuid import UUID

from sqlalchemy import update

from prolu.client.wire import NodeRead
from service.domain.expansion import expand
from service.store import nodes, queue, situation
from service.store.db import Database, database_now
from service.store.models import AttemptRow, RunRow
from tests.service.store.operations import (
    NOBODY,
    cancel,
    claim,
    had_been_queued,
    kinds,
    lose,
    order,
    run_of,
    run_together,
    see,
    state,
    submit,
    wait_out,
)
from tests.service.store.specs import run_spec, sweep_spec


def test_higher_priority_goes_first_and_equals_go_in_order_of_submission(database: Database, owner_id: UUID) -> None:
    first = submit(database, owner_id)
    urgent = submit(database, owner_id, priority=90)
    second = submit(database, owner_id)
    idle = submit(database, owner_id, priority=0)
    assert order(database) == [urgent, first, second, idle]


def test_a_sweep_enters_the_queue_in_the_order_of_its_points(database: Database, owner_id: UUID) -> None:
    spec = sweep_spec(4, max_concurrent=2)
    with database.begin() as session:
        sweep = queue.submit_sweep(session, owner_id=owner_id, spec=spec, points=expand(spec), priority=10)
    with database.read() as session:
        waiting = situation.waiting(session)
        points = [session.get_one(RunRow, run_id).point for run_id in order(database)]
    assert points == [0, 1, 2, 3]
    assert {candidate.sweep_id for candidate in waiting} == {sweep.id}
    assert {candidate.max_concurrent for candidate in waiting} == {2}
    assert kinds(database, waiting[0].run_id) == ["submitted"]


def test_a_saturated_sweep_does_not_hide_the_runs_behind_it(database: Database, owner_id: UUID) -> None:
    spec = sweep_spec(5, max_concurrent=1)
    with database.begin() as session:
        see(session, NodeRead(name="n", cpus=8, gpus=0, memory_gb=64))
        queue.submit_sweep(session, owner_id=owner_id, spec=spec, points=expand(spec), priority=50)
    behind = submit(database, owner_id)
    claim(database, order(database)[0])
    assert order(database) == [behind]


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
    assert order(database) == []
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

    run_together(*[work] * 8)
    assert sorted(taken) == sorted(runs)
    with database.read() as session:
        assert len(queue.live(session)) == 40


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
            nodes.record_nodes(session, seen)
        with database.read() as session:
            assert nodes.nodes(session) == seen


def test_a_wait_is_what_a_run_was_queued_before_each_start_without_what_it_trained(
    database: Database, owner_id: UUID
) -> None:
    run_id = submit(database, owner_id)
    had_been_queued(database, run_id, 500)
    submitted = run_of(database, run_id).waiting_since
    assert 500 <= claim(database, run_id)[0].waited_seconds < 560
    lose(database, run_id, 1, "node_lost")
    assert state(database, run_id) == "queued"
    assert claim(database, run_id)[0].waited_seconds < 60
    lose(database, run_id, 2, "storage")
    had_been_queued(database, run_id, 500)
    wait_out(database, run_id)
    assert claim(database, run_id)[0].waited_seconds < 60, "the pause before a retry is no wait in the queue"
    assert run_of(database, run_id).waiting_since == submitted, "for its age it goes on counting"
