"""Runs of two ranks on real Ray: reserved at once, trained as one, ended together whatever happens to one of them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from uuid import UUID

import pytest
import ray
import ray.util
import safetensors.torch

from prolu.spec import RunSpec
from service.store import queue
from service.store.models import AttemptRow, CheckpointRow, LogChunkRow, MetricPointRow
from tests.integration.dispatching import Service, spec
from workers.cluster import RayCluster

pytestmark = pytest.mark.ray

# Each of these starts several processes with torch, so they take turns: to the database a gang is one attempt like another,
# and on either one comes to its end, one loses a process or its leader, and one is cancelled.
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


def of_ranks(ranks: int, steps: int = 400) -> RunSpec:
    document = spec(steps).model_dump(mode="json")
    document["resources"]["ranks"] = ranks
    return RunSpec.model_validate(document)


def actor_of(service: Service, run_id: UUID) -> str:
    """The name of the attempt that runs now."""
    return max(service.rows(AttemptRow, run_id), key=lambda row: row.epoch).actor_name


def until(condition: Callable[[], bool], *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"


def standing(name: str) -> bool:
    """Whether anything is reserved under this name."""
    return any(
        group["name"] == name and group["state"] != "REMOVED" for group in ray.util.placement_group_table().values()
    )


def nobody_is_left(service: Service, name: str) -> None:
    until(lambda: all(name not in actor["name"] for actor in ray.util.list_named_actors(all_namespaces=True)))
    until(lambda: not standing(name))
    assert name not in service.cluster.names()


@on_sqlite
def test_two_ranks_train_what_one_trains_and_leave_nobody_behind(service: Service):
    alone, shared = service.submit(of_ranks(1)), service.submit(of_ranks(2))
    assert service.finish(alone).state == "succeeded"
    run = service.finish(shared)
    assert (run.state, run.step, run.message) == ("succeeded", 400, None)
    weights, expected = (
        safetensors.torch.load(service.final_files(run_id)["sae.safetensors"]) for run_id in (shared, alone)
    )
    for name, tensor in expected.items():
        assert (weights[name] - tensor).abs().max() < 1e-2 * tensor.abs().max(), name
    points = [{(row.split, row.step) for row in service.rows(MetricPointRow, run_id)} for run_id in (shared, alone)]
    assert points[0] == points[1]
    said = [line for row in service.rows(LogChunkRow, shared) for line in row.text.split("\n")]
    for rank in (0, 1):
        assert [line for line in said if f" [rank {rank}] INFO workers.actor: Attempt 1 of run {shared}" in line], said
    nobody_is_left(service, actor_of(service, shared))


@on_postgresql
def test_a_rank_that_is_killed_ends_its_gang_and_the_next_one_finishes_the_run(service: Service):
    run_id = service.submit(of_ranks(2, 1_200))
    service.tick_until(lambda: bool(service.rows(CheckpointRow, run_id)))
    name = actor_of(service, run_id)
    os.kill(service.cluster.pid(f"{name}-r1"), signal.SIGKILL)
    assert service.finish(run_id).state == "succeeded"
    first, second = service.rows(AttemptRow, run_id)
    assert first.failure_class == "ray_infra"
    assert second.outcome == "succeeded"
    assert (second.resumed_from_step or 0) >= 100
    nobody_is_left(service, name)


@on_sqlite
def test_a_gang_whose_leader_is_dead_is_found_and_ended_by_a_new_dispatcher(service: Service):
    run_id = service.submit(of_ranks(2, 1_000_000))
    service.tick_until(lambda: service.run(run_id).step > 0)
    name = actor_of(service, run_id)
    os.kill(service.cluster.pid(name), signal.SIGKILL)
    another = RayCluster("unused: Ray is connected", service.cluster._namespace)
    until(lambda: name not in {actor["name"] for actor in ray.util.list_named_actors(all_namespaces=True)})
    assert another.names() == {name}
    another.kill(name)
    nobody_is_left(service, name)


def test_a_cancelled_gang_stops_at_one_step_and_keeps_what_it_wrote(service: Service):
    run_id = service.submit(of_ranks(2, 1_000_000))
    service.tick_until(lambda: bool(service.rows(CheckpointRow, run_id)))
    name = actor_of(service, run_id)
    with service.database.begin() as session:
        queue.request_cancel(session, run_id)
    run = service.finish(run_id)
    assert run.state == "cancelled"
    assert run.step == max(row.step for row in service.rows(CheckpointRow, run_id))
    nobody_is_left(service, name)
