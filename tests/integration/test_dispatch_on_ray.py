"""Queue, dispatcher, real Ray, real training on synthetic activations, artifacts on disk; on both databases."""

from __future__ import annotations

import os
import signal

import pytest

from service.store import queue
from service.store.models import AttemptRow, BiasSnapshotRow, CheckpointRow, MetricPointRow
from tests.integration.dispatching import Service, spec
from workers.cluster import RayCluster
from workers.dispatcher import Dispatcher

pytestmark = pytest.mark.ray


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
