"""Two who change runs at once wait for each other, in whatever order they come by the rows: nobody deadlocks, and limits hold.

PostgreSQL alone: SQLite lets one write at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from uuid import UUID

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from prolu.spec.report import Failed
from service.domain.errors import QueueFull
from service.domain.expansion import expand
from service.store import extension, queue, reports, successors, wishes
from service.store.db import Database
from service.store.models import RunRow
from service.store.reports import Delivery
from service.store.submission import require_room
from service.store.successors import Again
from service.store.turns import take_turn
from tests.service.store.operations import claim, run_of, say
from tests.service.store.specs import metric, run_spec, sweep_spec

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)

_WAITING = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")


@pytest.fixture
def sweep(database: Database, owner_id: UUID) -> UUID:
    with database.begin() as session:
        spec = sweep_spec(2)
        return queue.submit_sweep(session, owner_id=owner_id, spec=spec, points=expand(spec), priority=50).id


@pytest.fixture
def pair(database: Database, sweep: UUID) -> tuple[UUID, UUID]:
    """Two live runs by id; by point, and as they lie in the table, it is the other way round."""
    with database.read() as session:
        tried, first = session.scalars(select(RunRow.id).where(RunRow.sweep_id == sweep).order_by(RunRow.point))
    claim(database, tried)
    say(database, tried, 1, Failed(step=1, failure_class="user_error", message="no"))
    with database.begin() as session:
        second = successors.retry(session, tried, Again())
    claim(database, second)
    claim(database, first)
    assert first < second
    assert run_of(database, first).point == 1
    return first, second


class Meeting:
    """Threads that each do something in a transaction of their own, one coming after another has begun to wait."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._threads: list[threading.Thread] = []
        self.failures: list[Exception] = []

    def comes(self, work: Callable[[Session], object]) -> None:
        """Let somebody begin, and go on once they wait for a lock."""

        def guarded() -> None:
            try:
                with self._database.begin() as session:
                    work(session)
            except Exception as error:
                self.failures.append(error)

        self._threads.append(threading.Thread(target=guarded))
        self._threads[-1].start()
        pause, patience = threading.Event(), 2_000
        while self._waiting() < len(self._threads):
            patience -= 1
            assert patience, f"nobody waits; {self.failures}"
            pause.wait(0.005)

    def ends(self) -> None:
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive()

    def _waiting(self) -> int:
        with self._database.look() as connection:
            found: int = connection.execute(_WAITING).scalar_one()
            return found


def _extend(session: Session, sweep: UUID) -> None:
    spec = sweep_spec(2, seeds=[0, 1])  # tells the present points' seed, which their description did not
    extension.extend_sweep(session, sweep, spec=spec, points=expand(spec), highest_tier=0)


@pytest.mark.parametrize("change", [wishes.cancel_sweep, _extend])
def test_a_change_of_a_whole_sweep_and_reports_of_its_runs_wait_for_each_other(
    database: Database, sweep: UUID, pair: tuple[UUID, UUID], change: Callable[[Session, UUID], None]
) -> None:
    first, second = pair
    said = [Delivery(run_id, 1, "node-1", [(1, metric(5))]) for run_id in pair]
    meeting = Meeting(database)
    with database.begin() as session:
        wishes.locked(session, first)
        meeting.comes(lambda session: reports.apply_all(session, said, lease_seconds=60))
        meeting.comes(lambda session: change(session, sweep))
        # Who held the second run by now, and waited for the first behind the reports, would be waited for by them.
    meeting.ends()
    assert meeting.failures == []
    assert [run_of(database, run_id).step for run_id in (first, second)] == [5, 5]
    changed = [run_of(database, run_id) for run_id in (first, second)]
    if change is _extend:
        assert [run.set["training.seed"] for run in changed] == [0, 0]
    else:
        assert [run.desired_state for run in changed] == ["cancelled", "cancelled"]


def _resume_one(session: Session, sweep: UUID) -> None:
    run_id = session.scalars(select(RunRow.id).where(RunRow.sweep_id == sweep).order_by(RunRow.point)).first()
    assert run_id is not None
    wishes.request_resume(session, run_id, most_waiting=2)


@pytest.mark.parametrize("first_verb", [0, 1])
def test_two_who_bring_back_runs_of_one_user_come_one_after_the_other(
    database: Database, owner_id: UUID, sweep: UUID, first_verb: int
) -> None:
    with database.begin() as session:
        wishes.pause_sweep(session, sweep)
        queue.settle(session)
    verbs = [_resume_one, lambda session, sweep: wishes.resume_sweep(session, sweep, most_waiting=2)]
    meeting = Meeting(database)
    with database.begin() as session:
        take_turn(session, owner_id)
        meeting.comes(lambda session: verbs[first_verb](session, sweep))
        meeting.comes(lambda session: verbs[1 - first_verb](session, sweep))
    meeting.ends()
    assert meeting.failures == []
    with database.read() as session:
        assert set(session.scalars(select(RunRow.desired_state).where(RunRow.sweep_id == sweep))) == {"running"}


def test_of_many_who_submit_at_once_no_more_get_a_place_than_may_wait(database: Database, owner_id: UUID) -> None:
    def submit(session: Session) -> None:
        require_room(session, owner_id, 1, most=1)
        queue.submit_run(session, owner_id=owner_id, spec=run_spec(), priority=50)

    meeting = Meeting(database)
    with database.begin() as session:
        take_turn(session, owner_id)
        for _ in range(4):
            meeting.comes(submit)
    meeting.ends()
    assert [type(failure) for failure in meeting.failures] == [QueueFull] * 3
    with database.read() as session:
        assert len(session.scalars(select(RunRow.id)).all()) == 1
