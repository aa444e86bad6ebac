"""Whatever is done to the queue in whatever order: what must always hold, holds.

A machine draws what users wish, what attempts say, what the dispatcher does and what fails, for the runs of one sweep. After
each step it looks at every row; at the end everything that was not cancelled can still be trained.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import ClassVar
from uuid import UUID

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import select, update
from sqlalchemy.orm import Session, defer

from prolu.spec.report import Failed, Report, Stopped, Succeeded
from service.domain.errors import IllegalTransition
from service.domain.expansion import expand
from service.domain.lifecycle import LIVE, MOVES, TERMINAL
from service.store import queue, reports, successors, wishes
from service.store.db import Database, database_now
from service.store.models import AttemptRow, EventRow, RunRow
from service.store.successors import Again
from tests.service.store.specs import checkpoint, metric, sweep_spec

POINTS = 3
SAID: list[Report] = [
    metric(1),
    checkpoint(1),
    checkpoint(2),
    Succeeded(step=100, metrics={}),
    Failed(step=1, failure_class="nan_loss", message="NaN"),
    Failed(step=1, failure_class="user_error", message="no"),
    Failed(step=1, failure_class="storage", message="full"),
    Stopped(step=1, reason="pause"),
    Stopped(step=1, reason="preempt"),
]
# Long, and never written again.
_RUNS = select(RunRow).options(defer(RunRow.spec), defer(RunRow.set))
Which = st.integers(0, 19)


class Queue(RuleBasedStateMachine):
    """The queue, as far as it can be seen from its rows; `database` and `owner_id` are set by the test."""

    database: ClassVar[Database]
    owner_id: ClassVar[UUID]

    @initialize()
    def submit(self) -> None:
        spec = sweep_spec(POINTS)
        with self.database.begin() as session:
            self.sweep = queue.submit_sweep(
                session, owner_id=self.owner_id, spec=spec, points=expand(spec), priority=50
            ).id
        self.before = self.look()

    @rule(reports_at_once=st.booleans())
    def claim(self, reports_at_once: bool) -> None:
        """All that wait, and may, start; nothing else does."""
        due = {run.id: run.epoch + 1 for run in self.before.values() if _may_start(run)}
        with self.database.begin() as session:
            claims = queue.claim(session, list(self.before), holder="test", lease_seconds=60)
            assert {one.run_id: one.epoch for one in claims} == due
            for one in claims if reports_at_once else []:
                reports.apply(session, one.run_id, one.epoch, [(1, checkpoint(1))], lease_seconds=60, node=None)

    @rule(which=Which, report=st.sampled_from(SAID))
    def say(self, which: int, report: Report) -> None:
        run = self.one(which, _is_live)
        with self.database.begin() as session:
            attempt = session.get(AttemptRow, (run.id, run.epoch))
            seq = attempt.last_seq + 1 if attempt else 1
            accepted = reports.apply(session, run.id, run.epoch, [(seq, report)], lease_seconds=60, node=None)
        assert (accepted is None) == (run.state not in LIVE)

    @rule(which=Which, report=st.sampled_from(SAID))
    def say_of_a_past_epoch(self, which: int, report: Report) -> None:
        run = self.one(which, _is_live)
        with self.database.begin() as session:
            assert reports.apply(session, run.id, run.epoch - 1, [(99, report)], lease_seconds=60, node=None) is None
            assert queue.lose(session, run.id, run.epoch - 1, failure_class="node_lost", message="gone") is None
        self.nothing_changed()

    @rule(which=Which, preempted=st.booleans(), finishes=st.booleans())
    def stop(self, which: int, preempted: bool, finishes: bool) -> None:
        """The dispatcher asks an attempt to end, for its owner's wish or to make room, and it may do so at once."""
        run = self.one(which, _is_live)
        wished: dict[str, queue.StopReason] = {"cancelled": "cancel", "paused": "pause"}
        reason = wished.get(run.desired_state, "preempt" if preempted else None)
        if reason is None:
            return
        with self.database.begin() as session:
            queue.mark_stopping(session, run.id, run.epoch, reason=reason)
            attempt = session.get(AttemptRow, (run.id, run.epoch))
            if finishes and attempt is not None:
                end = [(attempt.last_seq + 1, Stopped(step=2, reason=reason))]
                reports.apply(session, run.id, run.epoch, end, lease_seconds=60, node=None)

    @rule(which=Which, failure_class=st.sampled_from(["node_lost", "host_oom", "bad_checkpoint", "user_error"]))
    def lose(self, which: int, failure_class: str) -> None:
        run = self.one(which, _is_live)
        with self.database.begin() as session:
            now = queue.lose(session, run.id, run.epoch, failure_class=failure_class, message="gone")  # type: ignore[arg-type]
        assert (now is None) == (run.state not in LIVE)

    @rule(which=Which)
    def fall_silent(self, which: int) -> None:
        run = self.one(which, _is_live)
        with self.database.begin() as session:
            past = database_now(session) - timedelta(seconds=1)
            session.execute(update(AttemptRow).where(AttemptRow.run_id == run.id).values(lease_until=past))

    @rule()
    def reap(self) -> None:
        with self.database.begin() as session:
            reaped = queue.reap(session)
        assert {run_id for run_id, _ in reaped} <= {run.id for run in self.before.values() if run.state in LIVE}

    @rule(time_passes=st.booleans())
    def settle(self, time_passes: bool) -> None:
        """Once settled, what nobody holds is as its owner wishes."""
        with self.database.begin() as session:
            if time_passes:
                past = database_now(session) - timedelta(seconds=1)
                session.execute(update(RunRow).where(RunRow.state == "retry_wait").values(not_before=past))
            queue.settle(session)
        granted = {
            "cancelled": TERMINAL,
            "paused": TERMINAL | {"paused"},
            "running": TERMINAL | ({"queued"} if time_passes else {"queued", "retry_wait"}),
        }
        for run in self.rows():
            assert run.state in LIVE | granted[run.desired_state]

    @rule(which=Which, wish=st.sampled_from(["cancelled", "paused", "paused", "running", "running"]))
    def wish(self, which: int, wish: str) -> None:
        run = self.one(which, lambda run: run.state not in TERMINAL and run.desired_state != wish)
        going = run.state not in TERMINAL and run.desired_state != "cancelled"
        rests = run.desired_state == "paused" or run.state == "paused"
        verb, legal = {
            "cancelled": (wishes.request_cancel, run.state not in TERMINAL or run.desired_state == "cancelled"),
            "paused": (wishes.request_pause, going),
            "running": (wishes.request_resume, going and rests),
        }[wish]
        self.attempt(lambda session: verb(session, run.id), legal)
        assert not legal or self.row(run.id).desired_state == wish

    @rule(which=Which, from_scratch=st.booleans())
    def retry(self, which: int, from_scratch: bool) -> None:
        run = self.one(which, lambda run: run.state in ("failed", "cancelled", "retry_wait"))
        waits = run.state == "retry_wait" and run.desired_state == "running" and not from_scratch
        ended = run.state in ("failed", "cancelled") and not run.superseded
        self.attempt(
            lambda session: successors.retry(session, run.id, Again(from_scratch=from_scratch)), waits or ended
        )
        assert len(self.rows()) == len(self.before) + ended

    @rule(verb=st.sampled_from([wishes.cancel_sweep, wishes.pause_sweep, wishes.resume_sweep]))
    def wish_of_all(self, verb: Callable[[Session, UUID], None]) -> None:
        legal = any(run.state not in TERMINAL for run in self.before.values())
        try:
            with self.database.begin() as session:
                verb(session, self.sweep)
        except IllegalTransition:
            assert not legal or verb is not wishes.cancel_sweep
            self.nothing_changed()

    @rule(include_cancelled=st.booleans())
    def retry_failed(self, include_cancelled: bool) -> None:
        states = {"failed", "cancelled"} if include_cancelled else {"failed"}
        ended = sum(run.state in states and not run.superseded for run in self.before.values())
        self.attempt(
            lambda session: successors.retry_failed(session, self.sweep, Again(), include_cancelled=include_cancelled),
            ended > 0,
        )
        assert len(self.rows()) == len(self.before) + ended

    @invariant()
    def rows_are_in_order(self) -> None:
        after = self.look()
        for run_id, before in self.before.items():
            run = after[run_id]
            assert run.epoch in (before.epoch, before.epoch + 1)
            if before.state in TERMINAL:
                assert _content(run) == _content(before)
                assert run.superseded >= before.superseded
            if before.desired_state == "cancelled":
                assert (run.desired_state, run.epoch) == ("cancelled", before.epoch)
        current = sorted(run.point for run in after.values() if not run.superseded and run.point is not None)
        assert current == list(range(POINTS))
        self.before = after

    def teardown(self) -> None:
        """Nothing that was accepted is lost: what was not cancelled, and did not fail for good, can still be trained."""
        if not hasattr(self, "sweep"):
            return
        self.events_tell_the_whole_story()
        for _ in range(4):
            for run in self.rows():
                if run.state not in TERMINAL and run.desired_state == "paused":
                    self.attempt(lambda session, run_id=run.id: wishes.request_resume(session, run_id), True)
            for run in self.rows():
                if run.state in LIVE:
                    end = Succeeded(step=100, metrics={})
                    with self.database.begin() as session:
                        seq = session.get_one(AttemptRow, (run.id, run.epoch)).last_seq + 1
                        reports.apply(session, run.id, run.epoch, [(seq, end)], lease_seconds=60, node=None)
            with self.database.begin() as session:
                past = database_now(session) - timedelta(seconds=1)
                session.execute(update(RunRow).where(RunRow.state == "retry_wait").values(not_before=past))
                queue.settle(session)
                ids = list(session.scalars(select(RunRow.id)))
                queue.claim(session, ids, holder="test", lease_seconds=60)
        assert {run.state for run in self.rows()} <= TERMINAL
        with self.database.begin() as session:
            for table in reversed(RunRow.metadata.sorted_tables):
                if table.name != "users":
                    session.execute(table.delete())

    def events_tell_the_whole_story(self) -> None:
        """Replaying a run's events through the table of moves ends in its present state."""
        targets = {move.event: move.target for move in MOVES.values()}
        with self.database.read() as session:
            told = session.execute(select(EventRow.run_id, EventRow.kind).order_by(EventRow.id)).all()
        for run in self.rows():
            states = [targets[kind] for run_id, kind in told if run_id == run.id and kind in targets]
            assert (states[-1] if states else "queued") == run.state

    def attempt(self, verb: Callable[[Session], object], legal: bool) -> None:
        """Do it, and have it refused, with nothing changed, if and only if it is not legal."""
        if legal:
            with self.database.begin() as session:
                verb(session)
            return
        with pytest.raises(IllegalTransition), self.database.begin() as session:
            verb(session)
        self.nothing_changed()

    def nothing_changed(self) -> None:
        assert {run.id: _content(run) for run in self.rows()} == {
            run_id: _content(run) for run_id, run in self.before.items()
        }

    def one(self, which: int, fits: Callable[[RunRow], bool]) -> RunRow:
        """Choose a run: mostly one that fits, so that steps are seldom idle, and sometimes any."""
        runs = list(self.before.values())
        fitting = [run for run in runs if fits(run)]
        return fitting[which % len(fitting)] if fitting and which % 5 else runs[which % len(runs)]

    def row(self, run_id: UUID) -> RunRow:
        with self.database.read() as session:
            return session.scalars(_RUNS.where(RunRow.id == run_id)).one()

    def rows(self) -> list[RunRow]:
        with self.database.read() as session:
            return list(session.scalars(_RUNS.order_by(RunRow.id)))

    def look(self) -> dict[UUID, RunRow]:
        """Read every run, and find each consistent with its attempts: at most one of them lives, and epochs rise by one."""
        with self.database.read() as session:
            runs = session.scalars(_RUNS.order_by(RunRow.id)).all()
            attempts = session.scalars(select(AttemptRow).order_by(AttemptRow.epoch)).all()
        for run in runs:
            own = [attempt for attempt in attempts if attempt.run_id == run.id]
            assert [attempt.epoch for attempt in own] == list(range(1, run.epoch + 1))
            unfinished = [attempt.epoch for attempt in own if attempt.finished_at is None]
            assert unfinished == ([run.epoch] if run.state in LIVE else [])
            assert all((attempt.outcome is None) == (attempt.finished_at is None) for attempt in own)
            assert (run.finished_at is not None) == (run.state in TERMINAL)
            assert (run.not_before is not None) == (run.state == "retry_wait")
            assert (run.failure_class is not None) == (run.state == "failed")
        return {run.id: run for run in runs}


def _may_start(run: RunRow) -> bool:
    return run.state == "queued" and run.desired_state == "running"


def _is_live(run: RunRow) -> bool:
    return run.state in LIVE


def _content(run: RunRow) -> dict[str, object]:
    apart = ("superseded", "spec", "set")
    return {column.name: getattr(run, column.name) for column in RunRow.__table__.columns if column.name not in apart}


def test_any_order_of_events_leaves_the_queue_consistent(database: Database, owner_id: UUID) -> None:
    machine = type("Machine", (Queue,), {"database": database, "owner_id": owner_id})
    run_state_machine_as_test(machine, settings=settings(max_examples=15, stateful_step_count=40, deadline=None))
