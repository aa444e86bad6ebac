"""Retries of runs that ended badly, on both databases: who takes whose place, and where it begins."""

from __future__ import annotations

from uuid import UUID

import pytest
from sqlalchemy import select

from prolu.spec.report import Failed, Succeeded
from service.domain.errors import IllegalTransition, NotFound
from service.domain.expansion import expand
from service.store import queue, successors, wishes
from service.store.db import Database
from service.store.models import RunRow
from service.store.successors import Again
from tests.service.store.operations import (
    NOBODY,
    cancel,
    claim,
    kinds,
    lose,
    run_of,
    run_together,
    say,
    settle,
    state,
    submit,
)
from tests.service.store.specs import checkpoint, sweep_spec

# What is a run's own life, and no part of what it is to do.
LIFE = {"id", "state", "desired_state", "epoch", "step", "phase", "done", "total", "progress_at", "failure_class"} | {
    "message", "metrics", "created_at", "started_at", "finished_at", "waiting_since", "queued_at", "not_before", "superseded",
    "archived", "retry_of", "cloned_from", "begins_with", "begins_at_step",
}  # fmt: skip


def retry(database: Database, run_id: UUID, *, from_scratch: bool = False, **limits: float) -> UUID:
    with database.begin() as session:
        return successors.retry(session, run_id, Again(from_scratch=from_scratch, limits=limits))


def failed(
    database: Database, owner_id: UUID, failure_class: str = "user_error", *, steps: tuple[int, ...] = (10, 20)
) -> UUID:
    run_id = submit(database, owner_id, name="one")
    claim(database, run_id)
    fail(database, run_id, failure_class, steps=steps)
    return run_id


def fail(database: Database, run_id: UUID, failure_class: str, *, steps: tuple[int, ...] = ()) -> None:
    written = [checkpoint(step) for step in steps]
    end = Failed(step=25, failure_class=failure_class, message="no")  # type: ignore[arg-type]
    say(database, run_id, run_of(database, run_id).epoch, *written, end)
    assert state(database, run_id) == "failed"


def test_a_retry_is_a_new_run_with_everything_that_the_old_one_was_to_do(database: Database, owner_id: UUID) -> None:
    old = failed(database, owner_id)
    new = retry(database, old)
    before, after = run_of(database, old), run_of(database, new)
    columns = [column.name for column in RunRow.__table__.columns if column.name not in LIFE]
    assert {name: getattr(after, name) for name in columns} == {name: getattr(before, name) for name in columns}
    assert (after.retry_of, after.superseded, after.epoch, after.state) == (old, False, 0, "queued")
    assert (before.superseded, before.state) == (True, "failed")
    assert kinds(database, old)[-1] == "superseded"
    assert kinds(database, new) == ["submitted"]


def test_a_retry_goes_on_from_the_furthest_checkpoint_of_the_old_run(database: Database, owner_id: UUID) -> None:
    new = retry(database, failed(database, owner_id))
    assert run_of(database, new).step == 20
    (first,) = claim(database, new)
    assert first.resume_from == "runs/r/e1/step-20"
    say(database, new, 1, checkpoint(30, epoch=7))
    lose(database, new, 1, "node_lost")
    settle(database)
    (second,) = claim(database, new)
    assert second.resume_from == "runs/r/e7/step-30"


def test_a_retry_may_be_given_other_limits_and_trains_the_same_weights(database: Database, owner_id: UUID) -> None:
    limits = {"run_seconds": 60, "no_progress_seconds": 30}
    old = submit(database, owner_id, limits=limits)
    claim(database, old)
    fail(database, old, "timeout", steps=(10,))
    new = retry(database, old, run_seconds=7200.0)
    (claimed,) = claim(database, new)
    before, after = run_of(database, old), run_of(database, new)
    assert claimed.resume_from == "runs/r/e1/step-10"
    assert claimed.spec.limits.model_dump() == {"run_seconds": 7200, "start_seconds": None, "no_progress_seconds": 30}
    assert (after.run_limit_seconds, after.no_progress_limit_seconds, after.start_limit_seconds) == (7200, 30, None)
    assert (after.digest, claimed.spec.digest()) == (before.digest, before.digest)
    assert (before.spec["limits"]["run_seconds"], before.run_limit_seconds) == (60, 60)


def test_a_retry_of_a_retry_goes_on_from_where_that_one_began(database: Database, owner_id: UUID) -> None:
    second = retry(database, failed(database, owner_id))
    claim(database, second)
    fail(database, second, "user_error")
    third = retry(database, second)
    assert claim(database, third)[0].resume_from == "runs/r/e1/step-20"


def test_a_checkpoint_of_the_old_run_that_is_found_bad_is_not_tried_again(database: Database, owner_id: UUID) -> None:
    new = retry(database, failed(database, owner_id))
    claim(database, new)
    lose(database, new, 1, "bad_checkpoint")
    settle(database)
    assert claim(database, new)[0].resume_from is None


@pytest.mark.parametrize("failure_class", ["nan_loss", "user_error"])
def test_a_retry_begins_at_the_beginning_if_asked_to_or_if_it_would_only_happen_again(
    database: Database, owner_id: UUID, failure_class: str
) -> None:
    old = failed(database, owner_id, failure_class)
    new = retry(database, old, from_scratch=failure_class != "nan_loss")
    assert (claim(database, new)[0].resume_from, run_of(database, new).begins_with) == (None, None)


def test_a_cancelled_run_is_tried_again_too(database: Database, owner_id: UUID) -> None:
    old = submit(database, owner_id)
    cancel(database, old)
    with pytest.raises(IllegalTransition, match="is queued; only one that failed or was cancelled"):
        retry(database, old)
    settle(database)
    assert state(database, retry(database, old)) == "queued"


def test_one_run_takes_the_place_of_a_failed_one_however_many_ask(database: Database, owner_id: UUID) -> None:
    old = failed(database, owner_id)
    made: list[UUID] = []
    refused: list[IllegalTransition] = []

    def ask() -> None:
        try:
            made.append(retry(database, old))
        except IllegalTransition as error:
            refused.append(error)

    run_together(*[ask] * 4)
    (successor,) = made
    assert len(refused) == 3
    assert all(str(successor) in error.sentence for error in refused)


def test_a_run_that_waits_for_its_next_attempt_waits_no_longer(database: Database, owner_id: UUID) -> None:
    run_id = submit(database, owner_id)
    claim(database, run_id)
    lose(database, run_id, 1, "storage")
    assert settle(database) == 0
    with pytest.raises(IllegalTransition, match="retry_wait and goes on from its checkpoint"):
        retry(database, run_id, from_scratch=True)
    with pytest.raises(IllegalTransition, match="cancel it before you retry it with other limits"):
        retry(database, run_id, run_seconds=60)
    assert [retry(database, run_id), retry(database, run_id)] == [run_id, run_id]
    assert settle(database) == 1
    assert state(database, run_id) == "queued"
    assert kinds(database, run_id).count("retry_requested") == 1


def test_what_did_not_end_badly_is_not_tried_again(database: Database, owner_id: UUID) -> None:
    run_id = submit(database, owner_id)
    claim(database, run_id)
    with pytest.raises(IllegalTransition, match="is starting; only one that failed"):
        retry(database, run_id)
    lose(database, run_id, 1, "storage")
    with database.begin() as session:
        wishes.request_pause(session, run_id)
    with pytest.raises(IllegalTransition, match="retry_wait and will be paused"):
        retry(database, run_id)
    done = submit(database, owner_id)
    claim(database, done)
    say(database, done, 1, Succeeded(step=100, metrics={}))
    with pytest.raises(IllegalTransition, match="finished \\(succeeded\\); clone it"):
        retry(database, done)
    with pytest.raises(NotFound):
        retry(database, NOBODY)


def test_all_failed_runs_of_a_sweep_are_tried_again_at_once(database: Database, owner_id: UUID) -> None:
    spec = sweep_spec(4)
    with database.begin() as session:
        sweep = queue.submit_sweep(session, owner_id=owner_id, spec=spec, points=expand(spec), priority=9, tier=-1).id
    with database.read() as session:
        ids = list(session.scalars(select(RunRow.id).order_by(RunRow.point)))
    claim(database, *ids[:3])
    fail(database, ids[0], "user_error", steps=(10,))
    fail(database, ids[1], "nan_loss", steps=(11,))
    cancel(database, ids[3])
    settle(database)
    with database.begin() as session:
        assert successors.retry_failed(session, sweep, Again(), include_cancelled=False) == 2
    with database.begin() as session, pytest.raises(IllegalTransition, match="1 cancelled, 2 queued, 1 starting"):
        successors.retry_failed(session, sweep, Again(), include_cancelled=False)
    with database.begin() as session:
        assert successors.retry_failed(session, sweep, Again(), include_cancelled=True) == 1
    with database.read() as session:
        new = list(session.scalars(select(RunRow).where(RunRow.retry_of.is_not(None)).order_by(RunRow.id)))
    assert [(run.point, run.retry_of, run.begins_at_step) for run in new] == [
        (0, ids[0], 10),
        (1, ids[1], None),
        (3, ids[3], None),
    ]
    assert {(run.sweep_id, run.priority, run.tier) for run in new} == {(sweep, 9, -1)}
