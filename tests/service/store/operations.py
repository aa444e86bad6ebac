"""What happens to a queue, one transaction each, for tests."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from prolu.client.wire import NodeRead
from prolu.spec.report import FailureClass
from service.domain.planning import Policy
from service.store import lease, nodes, queue, reports, situation
from service.store.db import Database, database_now
from service.store.models import AttemptRow, EventRow, RunRow
from tests.service.store.specs import run_spec

NOBODY = UUID(int=0)


def submit(database: Database, owner_id: UUID, *, priority: int = 50, **changes: object) -> UUID:
    with database.begin() as session:
        return queue.submit_run(session, owner_id=owner_id, spec=run_spec(**changes), priority=priority).id


def claim(database: Database, *run_ids: UUID, lease_seconds: float = 60) -> list[queue.Claim]:
    with database.begin() as session:
        return queue.claim(session, run_ids, holder="test", lease_seconds=lease_seconds)


def say(database: Database, run_id: UUID, epoch: int, *messages: object, start: int = 1) -> int | None:
    numbered = list(enumerate(messages, start=start))
    with database.begin() as session:
        return reports.apply(session, run_id, epoch, numbered, lease_seconds=60, node="node-1")  # type: ignore[arg-type]


def lose(
    database: Database,
    run_id: UUID,
    epoch: int,
    failure_class: FailureClass,
    node: str | None = None,
    *,
    exit_cause: str | None = None,
) -> str | None:
    with database.begin() as session:
        return queue.lose(
            session, run_id, epoch, failure_class=failure_class, message="gone", node=node, exit_cause=exit_cause
        )


def cancel(database: Database, run_id: UUID) -> None:
    with database.begin() as session:
        queue.request_cancel(session, run_id)


def settle(database: Database) -> int:
    with database.begin() as session:
        return queue.settle(session)


def run_of(database: Database, run_id: UUID) -> RunRow:
    with database.read() as session:
        return session.get_one(RunRow, run_id)


def state(database: Database, run_id: UUID) -> str:
    return run_of(database, run_id).state


def attempt_of(database: Database, run_id: UUID, epoch: int) -> AttemptRow:
    with database.read() as session:
        return session.get_one(AttemptRow, (run_id, epoch))


def kinds(database: Database, run_id: UUID) -> list[str]:
    with database.read() as session:
        return list(session.scalars(select(EventRow.kind).where(EventRow.run_id == run_id).order_by(EventRow.id)))


def order(database: Database) -> list[UUID]:
    """The runs that wait, in the order of the queue, without those that their sweep's limit holds back."""
    with database.read() as session:
        found = situation.read(session, Policy()).plan(Policy())
    return [decision.run_id for decision in found.decisions if decision.cause != "sweep_limit"]


def see(session: Session, *seen: NodeRead) -> None:
    """What a dispatcher that leads does: it shows that it lives, and what it sees of the cluster."""
    lease.lead(session, "test", seconds=60)
    nodes.record_nodes(session, seen)


def make_due(database: Database, run_id: UUID) -> None:
    with database.begin() as session:
        past = database_now(session) - timedelta(seconds=1)
        session.execute(update(RunRow).where(RunRow.id == run_id).values(not_before=past))


def wait_out(database: Database, run_id: UUID) -> None:
    """Let the pause before the next attempt pass, if there is one."""
    make_due(database, run_id)
    settle(database)


def expire(database: Database, run_id: UUID) -> None:
    with database.begin() as session:
        past = database_now(session) - timedelta(seconds=1)
        session.execute(update(AttemptRow).where(AttemptRow.run_id == run_id).values(lease_until=past))


def had_been_queued(database: Database, run_id: UUID, seconds: float) -> None:
    """Let the run have become queued so long ago."""
    with database.begin() as session:
        past = database_now(session) - timedelta(seconds=seconds)
        session.execute(update(RunRow).where(RunRow.id == run_id).values(queued_at=past))


def wish(database: Database, run_id: UUID, desired: str) -> None:
    with database.begin() as session:
        session.execute(update(RunRow).where(RunRow.id == run_id).values(desired_state=desired))


def run_together(*jobs: Callable[[], None]) -> None:
    failures: list[BaseException] = []

    def guarded(job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
