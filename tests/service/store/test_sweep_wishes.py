"""Wishes for all runs of a sweep at once, on both databases."""

from __future__ import annotations

from uuid import UUID

import pytest
from sqlalchemy import event, select

from prolu.spec.report import Stopped, Succeeded
from service.domain.errors import IllegalTransition, NotFound
from service.domain.expansion import expand
from service.store import queue, wishes
from service.store.db import Database
from service.store.models import RunRow, SweepRow
from tests.service.store.operations import NOBODY, claim, kinds, run_of, run_together, say, settle, state
from tests.service.store.specs import metric, sweep_spec


def submit_sweep(database: Database, owner_id: UUID, runs: int = 4) -> tuple[UUID, list[UUID]]:
    spec = sweep_spec(runs)
    with database.begin() as session:
        sweep_id = queue.submit_sweep(session, owner_id=owner_id, spec=spec, points=expand(spec), priority=50).id
    with database.read() as session:
        return sweep_id, list(session.scalars(select(RunRow.id).order_by(RunRow.point)))


def wished(database: Database, ids: list[UUID]) -> list[str]:
    return [run_of(database, run_id).desired_state for run_id in ids]


def states(database: Database, ids: list[UUID]) -> list[str]:
    return [state(database, run_id) for run_id in ids]


def test_a_wish_for_a_sweep_is_one_for_each_run_that_has_not_ended(database: Database, owner_id: UUID) -> None:
    sweep, ids = submit_sweep(database, owner_id)
    claim(database, *ids[:2])
    say(database, ids[0], 1, Succeeded(step=100, metrics={}))
    with database.begin() as session:
        wishes.pause_sweep(session, sweep)
    assert wished(database, ids) == ["running", "paused", "paused", "paused"]
    assert settle(database) == 2
    assert states(database, ids) == ["succeeded", "starting", "paused", "paused"]
    say(database, ids[1], 1, metric(5), Stopped(step=5, reason="pause"))
    before = run_of(database, ids[2]).waiting_since
    for _ in range(2):
        with database.begin() as session:
            wishes.resume_sweep(session, sweep)
    assert settle(database) == 3
    assert run_of(database, ids[2]).waiting_since > before
    for _ in range(2):
        with database.begin() as session:
            wishes.cancel_sweep(session, sweep)
    assert settle(database) == 3
    assert states(database, ids) == ["succeeded", "cancelled", "cancelled", "cancelled"]
    assert kinds(database, ids[2]) == [
        "submitted",
        "pause_requested",
        "paused",
        "resume_requested",
        "requeued",
        "cancel_requested",
        "cancelled",
    ]


def test_a_wish_that_no_run_can_have_is_refused_with_the_states(database: Database, owner_id: UUID) -> None:
    sweep, ids = submit_sweep(database, owner_id, 2)
    with database.begin() as session, pytest.raises(IllegalTransition, match="\\(2 queued\\), no run is paused"):
        wishes.resume_sweep(session, sweep)
    claim(database, *ids)
    for run_id in ids:
        say(database, run_id, 1, Succeeded(step=100, metrics={}))
    for verb in (wishes.cancel_sweep, wishes.pause_sweep, wishes.resume_sweep):
        with database.begin() as session, pytest.raises(IllegalTransition, match="2 succeeded"):
            verb(session, sweep)
        with database.begin() as session, pytest.raises(NotFound):
            verb(session, NOBODY)


def test_the_place_of_a_sweep_is_that_of_its_runs_that_have_not_ended(database: Database, owner_id: UUID) -> None:
    sweep, ids = submit_sweep(database, owner_id, 3)
    claim(database, ids[0])
    say(database, ids[0], 1, Succeeded(step=100, metrics={}))
    for _ in range(2):
        with database.begin() as session:
            wishes.change_sweep(session, wishes.locked_sweep(session, sweep), priority=80, tier=-1)
    assert [(run.priority, run.tier) for run in (run_of(database, one) for one in ids)] == [(50, 0), (80, -1), (80, -1)]
    assert kinds(database, ids[1]) == ["submitted", "changed"]
    with database.read() as session:
        row = session.get_one(SweepRow, sweep)
    assert (row.priority, row.tier, row.preemptible) == (80, -1, False)


def test_a_run_that_ends_while_its_sweep_is_cancelled_keeps_its_end(database: Database, owner_id: UUID) -> None:
    sweep, ids = submit_sweep(database, owner_id, 8)
    claim(database, *ids)

    def cancel() -> None:
        with database.begin() as session:
            wishes.cancel_sweep(session, sweep)

    def finish() -> None:
        for run_id in reversed(ids):
            say(database, run_id, 1, Succeeded(step=100, metrics={}))

    def grant() -> None:
        for _ in range(5):
            settle(database)

    run_together(cancel, finish, grant)
    assert states(database, ids) == ["succeeded"] * 8


def test_a_thousand_runs_are_cancelled_in_a_few_statements(database: Database, owner_id: UUID) -> None:
    sweep, _ = submit_sweep(database, owner_id, 1_000)
    statements: list[str] = []
    event.listen(
        database.engine, "before_cursor_execute", lambda _c, _k, statement, *_: statements.append(statement[:40])
    )
    with database.begin() as session:
        wishes.cancel_sweep(session, sweep)
    assert settle(database) == 1_000
    # Events go in as many rows as fit one statement; nothing is asked for single runs.
    assert len(statements) < 30
    with database.read() as session:
        assert set(session.scalars(select(RunRow.state))) == {"cancelled"}
