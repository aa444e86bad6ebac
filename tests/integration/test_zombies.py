"""A worker that is stopped until its run is finished by another, and then wakes up; on a real Ray, on both databases."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest
import ray

from prolu.spec.report import CheckpointWritten, MetricPoint, Succeeded
from service.store import reports
from service.store.models import AttemptRow, BiasSnapshotRow, CheckpointRow, EventRow, MetricPointRow, RunRow
from tests.integration.dispatching import Service, spec
from workers.cluster import RayCluster
from workers.dispatcher import Dispatcher
from workers.messages import Attempt, Reply, read_report

pytestmark = pytest.mark.ray


class Parted(RayCluster):
    """A cluster in which the order to end does not reach some actors, as when their node is cut off."""

    out_of_reach: frozenset[str] = frozenset()

    def kill(self, name: str) -> None:
        if name not in self.out_of_reach:
            super().kill(name)


@pytest.fixture
def parted(service: Service) -> Service:
    """The service on a parted cluster, with short leases."""
    service.cluster = Parted("unused: Ray is connected", service.cluster._namespace)
    service.settings = service.settings.model_copy(update={"lease_seconds": 3.0})
    service.dispatcher = Dispatcher(service.database, service.cluster, service.settings)
    return service


def everything_of(service: Service, run_id: UUID) -> list[Any]:
    """All rows of a run as plain values."""
    tables = (RunRow, AttemptRow, MetricPointRow, BiasSnapshotRow, CheckpointRow, EventRow)
    with service.database.read() as session:
        found = []
        for table in tables:
            columns = table.__table__.columns
            query = table.__table__.select().where(columns["id" if table is RunRow else "run_id"] == run_id)
            found.append([tuple(row) for row in session.execute(query.order_by(*table.__table__.primary_key))])
    return found


def has_succeeded(service: Service, run_id: UUID) -> bool:
    """Whether the run is finished; it need not wait for a retry."""
    with service.database.begin() as session:
        run = session.get_one(RunRow, run_id, with_for_update=True)
        run.not_before = run.not_before and run.created_at
        return run.state == "succeeded"


def test_a_stopped_actor_that_wakes_after_attempt_2_finished_is_not_heard_and_ends(parted: Service):
    run_id = parted.submit(spec(1_200))
    parted.tick_until(lambda: bool(parted.rows(CheckpointRow, run_id)))
    (name,) = parted.cluster.names()
    parted.cluster.out_of_reach = frozenset({name})
    zombie = psutil.Process(parted.cluster.pid(name))
    zombie.suspend()
    try:
        parted.tick_until(lambda: has_succeeded(parted, run_id))
        first, *_, last = parted.rows(AttemptRow, run_id)
        assert (first.outcome, first.failure_class, last.outcome) == ("lost", "lease_expired", "succeeded")
        before = everything_of(parted, run_id)
    finally:
        zombie.resume()

    # It trains on, and comes to the end of the run, too; its files lie below its own prefix.
    manifest = Path(parted.settings.artifact_root) / f"runs/{run_id}/e1/step-1200/manifest.json"
    parted.tick_until(manifest.exists)
    assert everything_of(parted, run_id) == before

    # Whoever asks it hears of metrics, checkpoints and success, and can write none of it.
    handle = ray.get_actor(name, namespace=parted.cluster._namespace)
    reply: Reply = ray.get(handle.poll.remote({Attempt(str(run_id), 1): first.last_seq}))
    messages = [(message.seq, read_report(message.report)) for message in reply.messages]
    assert {MetricPoint, CheckpointWritten, Succeeded} <= {type(report) for _, report in messages}
    with parted.database.begin() as session:
        assert reports.apply(session, run_id, 1, messages, lease_seconds=60, node=reply.node) is None
    assert everything_of(parted, run_id) == before

    # Once an order reaches it again, its process ends.
    parted.cluster.out_of_reach = frozenset()
    parted.tick_until(lambda: not zombie.is_running() or zombie.status() == psutil.STATUS_ZOMBIE)
    assert everything_of(parted, run_id) == before
