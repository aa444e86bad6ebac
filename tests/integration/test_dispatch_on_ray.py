"""Queue, dispatcher, real Ray, real training on synthetic activations, artifacts on disk; on both databases."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from prolu.spec import RunSpec
from service.settings import Settings
from service.store import queue
from service.store.db import Database
from service.store.models import AttemptRow, BiasSnapshotRow, CheckpointRow, MetricPointRow, RunRow
from workers.cluster import RayCluster
from workers.dispatcher import Dispatcher

pytestmark = pytest.mark.ray


def spec(steps: int = 400) -> RunSpec:
    return RunSpec.model_validate(
        {
            "data": {"kind": "synthetic", "d_in": 16, "n_features": 32, "eval_samples": 256},
            "sae": {"kind": "prolu", "d_sae": 32},
            "sparsity": {"kind": "l1", "coefficient": 0.003},
            "training": {
                "steps": steps,
                "batch_size": 64,
                "metrics_every_steps": 20,
                "bias_snapshot_every_steps": 100,
                "checkpoint_every_steps": 100,
            },
            "resources": {"memory_gb": 0.5},
        }
    )


class Service:
    """A dispatcher on the shared Ray, driven by the test."""

    def __init__(self, database: Database, address: str, folder: Path, owner_id: UUID) -> None:
        self.database = database
        self.owner_id = owner_id
        self.settings = Settings(data_dir=folder, poll_seconds=0.1)
        self.cluster = RayCluster(address, f"test-{uuid4()}")
        self.dispatcher = Dispatcher(database, self.cluster, self.settings)

    def submit(self, run: RunSpec) -> UUID:
        with self.database.begin() as session:
            return queue.submit_run(session, owner_id=self.owner_id, spec=run, priority=50).id

    def run(self, run_id: UUID) -> RunRow:
        with self.database.read() as session:
            return session.get_one(RunRow, run_id)

    def rows(self, table: type[Any], run_id: UUID) -> list[Any]:
        with self.database.read() as session:
            return list(session.scalars(select(table).where(table.run_id == run_id)))

    def tick_until(self, condition: Callable[[], bool], *, seconds: float = 90) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it never came true"
            self.dispatcher.tick()

    def finish(self, run_id: UUID) -> RunRow:
        self.tick_until(lambda: self.run(run_id).finished_at is not None)
        return self.run(run_id)

    def final_files(self, run_id: UUID) -> dict[str, bytes]:
        (final,) = [row for row in self.rows(CheckpointRow, run_id) if row.final]
        folder = Path(self.settings.artifact_root) / final.path
        return {file["name"]: (folder / file["name"]).read_bytes() for file in final.files}


@pytest.fixture
def service(database: Database, ray_address: str, tmp_path: Path, owner_id: UUID) -> Iterator[Service]:
    service = Service(database, ray_address, tmp_path, owner_id)
    yield service
    for name in service.cluster.names():
        service.cluster.kill(name)


def test_a_run_goes_from_the_queue_to_weights_on_disk_and_statistics_in_sql(service: Service):
    run_id = service.submit(spec())
    run = service.finish(run_id)
    assert (run.state, run.step, run.message) == ("succeeded", 400, None)
    assert run.metrics is not None
    assert run.metrics["fvu"] < 1
    assert [row.step for row in service.rows(BiasSnapshotRow, run_id)] == [0, 100, 200, 300, 400]
    assert len([row for row in service.rows(MetricPointRow, run_id) if row.split == "train"]) == 20
    assert [row.step for row in service.rows(CheckpointRow, run_id)] == [100, 200, 300, 400]
    assert set(service.final_files(run_id)) == {"config.json", "sae.safetensors", "training.safetensors"}


def test_a_killed_worker_costs_no_bit_and_no_retry(service: Service):
    calm = service.submit(spec(1_200))
    service.finish(calm)
    shaken = service.submit(spec(1_200))
    service.tick_until(lambda: bool(service.rows(CheckpointRow, shaken)))
    (name,) = service.cluster.names()
    os.kill(service.cluster.pid(name), signal.SIGKILL)
    assert service.finish(shaken).state == "succeeded"
    assert service.final_files(shaken) == service.final_files(calm)
    first, second = service.rows(AttemptRow, shaken)
    assert (first.outcome, first.failure_class) == ("lost", "ray_infra")
    assert (second.outcome, second.resumed_from_step) == ("succeeded", second.resumed_from_step)
    assert (second.resumed_from_step or 0) >= 100
    calm_metrics, shaken_metrics = (
        {(row.split, row.step): row.metrics for row in service.rows(MetricPointRow, run_id)}
        for run_id in (calm, shaken)
    )
    assert shaken_metrics == calm_metrics


def test_a_dispatcher_that_is_replaced_in_the_middle_interrupts_nothing(service: Service):
    run_id = service.submit(spec(1_200))
    service.tick_until(lambda: service.run(run_id).step > 0)
    cluster = RayCluster("unused: Ray is connected", service.cluster._namespace)
    service.dispatcher = Dispatcher(service.database, cluster, service.settings.model_copy(update={"holder": "new"}))
    run = service.finish(run_id)
    assert (run.state, run.epoch) == ("succeeded", 1)


def test_draining_leaves_a_checkpoint_from_which_the_next_dispatcher_goes_on(service: Service):
    run_id = service.submit(spec(1_000_000))
    service.tick_until(lambda: service.run(run_id).step > 0)
    service.dispatcher.drain()
    assert service.run(run_id).state == "queued"
    assert not service.cluster.names()
    saved = max(row.step for row in service.rows(CheckpointRow, run_id))
    assert saved == service.run(run_id).step
    service.dispatcher = Dispatcher(service.database, service.cluster, service.settings)
    service.tick_until(lambda: service.run(run_id).state == "running")
    assert service.rows(AttemptRow, run_id)[-1].resumed_from_step == saved


def test_a_cancelled_run_stops_and_keeps_what_it_wrote(service: Service):
    run_id = service.submit(spec(1_000_000))
    service.tick_until(lambda: bool(service.rows(CheckpointRow, run_id)))
    with service.database.begin() as session:
        queue.request_cancel(session, run_id)
    run = service.finish(run_id)
    assert run.state == "cancelled"
    assert service.rows(CheckpointRow, run_id)
