"""Pause, resume and another place in the queue, of one run, on both databases."""

from __future__ import annotations

from uuid import UUID

import pytest

from prolu.spec.report import Stopped, Succeeded
from service.domain.errors import IllegalTransition, NotFound
from service.store import wishes
from service.store.db import Database
from tests.service.store.operations import (
    NOBODY,
    attempt_of,
    cancel,
    claim,
    kinds,
    lose,
    make_due,
    run_of,
    say,
    settle,
    state,
    submit,
)
from tests.service.store.specs import metric


def pause(database: Database, run_id: UUID) -> None:
    with database.begin() as session:
        wishes.request_pause(session, run_id)


def resume(database: Database, run_id: UUID) -> None:
    with database.begin() as session:
        wishes.request_resume(session, run_id)


def change(database: Database, run_id: UUID, **changes: object) -> None:
    with database.begin() as session:
        wishes.change_place(session, wishes.locked(session, run_id), **changes)


def test_a_paused_run_waits_anew_from_its_resume(database: Database, owner_id: UUID) -> None:
    run_id = submit(database, owner_id)
    since = run_of(database, run_id).waiting_since
    pause(database, run_id)
    pause(database, run_id)
    assert settle(database) == 1
    assert claim(database, run_id) == []
    resume(database, run_id)
    resume(database, run_id)
    assert settle(database) == 1
    assert run_of(database, run_id).waiting_since > since
    assert kinds(database, run_id) == ["submitted", "pause_requested", "paused", "resume_requested", "requeued"]
    assert len(claim(database, run_id)) == 1


def test_a_pause_during_a_backoff_ends_the_wait_and_a_resume_does_not_bring_it_back(
    database: Database, owner_id: UUID
) -> None:
    run_id = submit(database, owner_id)
    claim(database, run_id)
    lose(database, run_id, 1, "storage")
    pause(database, run_id)
    settle(database)
    assert (state(database, run_id), run_of(database, run_id).not_before) == ("paused", None)
    resume(database, run_id)
    settle(database)
    assert state(database, run_id) == "queued"


def test_a_pause_that_has_not_come_is_taken_back_and_nothing_else_happens(database: Database, owner_id: UUID) -> None:
    run_id = submit(database, owner_id)
    since = run_of(database, run_id).waiting_since
    pause(database, run_id)
    resume(database, run_id)
    assert settle(database) == 0
    assert (state(database, run_id), run_of(database, run_id).waiting_since) == ("queued", since)


def test_a_run_that_is_resumed_while_it_stops_goes_back_to_the_queue(database: Database, owner_id: UUID) -> None:
    run_id = submit(database, owner_id)
    claim(database, run_id)
    say(database, run_id, 1, metric(10))
    pause(database, run_id)
    resume(database, run_id)
    say(database, run_id, 1, Stopped(step=12, reason="pause"), start=2)
    assert state(database, run_id) == "queued"
    assert attempt_of(database, run_id, 1).outcome == "preempted"


def test_only_a_paused_run_is_resumed(database: Database, owner_id: UUID) -> None:
    run_id = submit(database, owner_id)
    with pytest.raises(IllegalTransition, match="is queued; only a paused run"):
        resume(database, run_id)
    claim(database, run_id)
    with pytest.raises(IllegalTransition, match="is starting; only a paused run"):
        resume(database, run_id)
    say(database, run_id, 1, Succeeded(step=100, metrics={}))
    for verb in (pause, resume):
        with pytest.raises(IllegalTransition, match="already finished \\(succeeded\\)"):
            verb(database, run_id)
        with pytest.raises(NotFound):
            verb(database, NOBODY)


def test_a_cancel_is_not_taken_back_by_a_pause_or_a_resume(database: Database, owner_id: UUID) -> None:
    run_id = submit(database, owner_id)
    cancel(database, run_id)
    for verb in (pause, resume):
        with pytest.raises(IllegalTransition, match="is queued and will be cancelled"):
            verb(database, run_id)
    paused = submit(database, owner_id)
    pause(database, paused)
    settle(database)
    cancel(database, paused)
    settle(database)
    assert (state(database, run_id), state(database, paused)) == ("cancelled", "cancelled")


def test_a_place_is_changed_once_and_told_by_name(database: Database, owner_id: UUID) -> None:
    run_id = submit(database, owner_id)
    change(database, run_id, priority=70, tier=1, preemptible=True)
    change(database, run_id, priority=70)
    run = run_of(database, run_id)
    assert (run.priority, run.tier, run.preemptible) == (70, 1, True)
    assert kinds(database, run_id) == ["submitted", "changed"]
    claim(database, run_id)
    change(database, run_id, priority=80)
    say(database, run_id, 1, Succeeded(step=100, metrics={}))
    with pytest.raises(IllegalTransition, match="already finished"):
        change(database, run_id, priority=90)


def test_many_waits_that_are_over_end_in_one_go(database: Database, owner_id: UUID) -> None:
    ids = [submit(database, owner_id) for _ in range(5)]
    claim(database, *ids)
    for run_id in ids:
        lose(database, run_id, 1, "storage")
    assert settle(database) == 0
    for run_id in ids[:4]:
        make_due(database, run_id)
    assert settle(database) == 4
    assert [state(database, run_id) for run_id in ids] == ["queued"] * 4 + ["retry_wait"]
    assert {kinds(database, run_id)[-1] for run_id in ids[:4]} == {"requeued"}
