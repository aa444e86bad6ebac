"""Claim and finish alone: how fast runs that wait are claimed, worked on (the body does nothing) and finished.

Ours goes through what the dispatcher calls: `queue.claim` for a batch, in one transaction, and `reports.apply_all` for the
outcomes of the batch, in another. Durable either way: two fsyncs for a batch, where the peer has two for each job that
the jobs beside it share.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from uuid import UUID

from sqlalchemy import select

from benchmarks.queue.work import sweep_points, sweep_spec
from prolu.spec.report import Succeeded
from service.store import queue, reports, users
from service.store.db import Database
from service.store.models import RunRow
from service.store.reports import Delivery

BATCH = 200
_LEASE_SECONDS = 60.0


def fill(database: Database, count: int) -> None:
    """Put `count` runs into the queue, as one sweep."""
    with database.begin() as session:
        owner_id = users.ensure_user(session, "bench")
        spec = sweep_spec(count)
        queue.submit_sweep(session, owner_id=owner_id, spec=spec, points=sweep_points(count), priority=50)


def work_off(database: Database, *, batch: int = BATCH) -> float:
    """Claim, run and finish every run that waits; return the seconds."""
    began = time.perf_counter()
    for run_ids in _in_order(database, batch):
        with database.begin() as session:
            claims = queue.claim(session, run_ids, holder="bench", lease_seconds=_LEASE_SECONDS)
        said = [Delivery(one.run_id, one.epoch, "node", [(1, no_op(one))]) for one in claims]
        with database.begin() as session:
            reports.apply_all(session, said, lease_seconds=_LEASE_SECONDS)
    return time.perf_counter() - began


def no_op(_: queue.Claim) -> Succeeded:
    """The body that both sides run: none."""
    return Succeeded(step=0, metrics={})


def _in_order(database: Database, batch: int) -> Iterator[Sequence[UUID]]:
    """The runs that wait, the first ones first, read anew for each batch."""
    statement = (
        select(RunRow.id)
        .where(RunRow.state == "queued", RunRow.desired_state == "running")
        .order_by(RunRow.priority.desc(), RunRow.id)
        .limit(batch)
    )
    while True:
        with database.read() as session:
            run_ids = session.scalars(statement).all()
        if not run_ids:
            return
        yield run_ids
