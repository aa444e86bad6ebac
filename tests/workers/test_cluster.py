"""The cluster's view of a real Ray: actors that train, die, are found again and are ended."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import ray
import ray.util

from prolu.spec import ResourcesSpec, RunSpec
from prolu.spec.report import Outcome, Report, Stopped, Succeeded
from service.domain.planning.placement import Asked, Room
from tests.service.domain.planning.build import node
from workers.cluster import Loss, RayCluster
from workers.lines import Lines
from workers.messages import Acks, Assignment, Attempt, Reply, Surroundings, read_report

pytestmark = pytest.mark.ray


class Floor:
    """One namespace of the shared Ray."""

    def __init__(self, address: str, folder: Path) -> None:
        self.address = address
        self.namespace = f"test-{uuid4()}"
        self.cluster = RayCluster(address, self.namespace)
        self.surroundings = Surroundings(str(folder / "artifacts"), str(folder / "cache"), (), False, 300.0)
        self.acks: dict[Attempt, int] = {}

    def start(self, *, steps: int = 20, cpus: int = 1, gpus: float = 0, ranks: int = 1) -> tuple[str, Attempt]:
        attempt = Attempt(str(uuid4()), 1)
        spec = RunSpec.model_validate(
            {
                "data": {"kind": "synthetic", "d_in": 8, "n_features": 16, "eval_samples": 64},
                "sae": {"kind": "prolu", "d_sae": 16},
                "sparsity": {"kind": "l1", "coefficient": 0.001},
                "training": {"steps": steps, "batch_size": 16},
                "resources": {"cpus": cpus, "memory_gb": 0.5, "gpus": gpus, "ranks": ranks},
            }
        )
        name = f"prolu-{attempt.run_id}-e1"
        assignment = Assignment(attempt, spec.model_dump_json(), None)
        self.cluster.start(name, [assignment], self.surroundings, spec.resources)
        return name, attempt

    def answers(
        self, name: str, attempt: Attempt, cluster: RayCluster | None = None, *, seconds: float = 60
    ) -> Iterator[Reply | Loss]:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            acks = {name: {attempt: self.acks.get(attempt, 0)}}
            for named, answer in (cluster or self.cluster).poll(acks, timeout=0.2):
                assert named == name
                yield answer

    def reports(self, name: str, attempt: Attempt, **options: Any) -> Iterator[Report]:
        for answer in self.answers(name, attempt, **options):
            assert isinstance(answer, Reply), answer
            for message in answer.messages:
                self.acks[attempt] = message.seq
                yield read_report(message.report)

    def devices(self, name: str, attempt: Attempt, *, ranks: int) -> tuple[tuple[str, ...], ...]:
        """What the ranks say that Ray gave them, once all have."""
        replies = (answer for answer in self.answers(name, attempt) if isinstance(answer, Reply))
        return next(reply.devices for reply in replies if len(reply.devices) == ranks)

    def outcome(self, name: str, attempt: Attempt, **options: Any) -> Report:
        return next(report for report in self.reports(name, attempt, **options) if isinstance(report, Outcome))


@pytest.fixture
def floor(ray_address: str, tmp_path: Path) -> Iterator[Floor]:
    floor = Floor(ray_address, tmp_path)
    yield floor
    for name in floor.cluster.names():
        floor.cluster.kill(name)


def test_an_actor_trains_on_a_node_that_the_cluster_names(floor: Floor):
    name, attempt = floor.start()
    first = next(floor.answers(name, attempt))
    assert isinstance(first, Reply)
    assert first.node in {node.name for node in floor.cluster.nodes()}
    assert isinstance(floor.outcome(name, attempt), Succeeded)


def test_a_killed_process_is_a_loss_with_a_sentence_and_costs_no_retry(floor: Floor):
    name, attempt = floor.start(steps=10_000_000)
    next(floor.reports(name, attempt))
    process = floor.cluster.pid(name)
    os.kill(process, signal.SIGKILL)
    loss = next(answer for answer in floor.answers(name, attempt) if isinstance(answer, Loss))
    assert loss.failure_class == "ray_infra"
    assert "worker process" in loss.message
    assert "actor_id" not in loss.message
    assert loss.exit_cause is not None
    assert f"pid: {process}" in loss.exit_cause
    assert "Worker exit type: SYSTEM_ERROR" in loss.exit_cause


def test_another_dispatcher_finds_the_actor_by_its_name_and_stops_it(floor: Floor):
    name, attempt = floor.start(steps=10_000_000)
    next(floor.reports(name, attempt))
    another = RayCluster(floor.address, floor.namespace)
    assert another.names() == {name}
    assert another.attach(name)
    another.stop(name, attempt, "pause")
    outcome = floor.outcome(name, attempt, cluster=another)
    assert isinstance(outcome, Stopped)
    assert outcome.reason == "pause"


def test_an_actor_that_is_ended_is_known_no_more(floor: Floor):
    name, attempt = floor.start(steps=10_000_000)
    next(floor.reports(name, attempt))
    floor.cluster.kill(name)
    deadline = time.monotonic() + 30
    while name in floor.cluster.names() and time.monotonic() < deadline:
        continue
    assert name not in floor.cluster.names()
    assert not floor.cluster.attach(name)


def test_an_actor_that_finds_no_room_gives_no_answer_and_blocks_nobody(floor: Floor):
    crowded, waiting = floor.start(cpus=1_000)
    name, attempt = floor.start()
    acks = {crowded: {waiting: 0}, name: {attempt: 0}}
    heard = {named for _ in range(50) for named, _ in floor.cluster.poll(acks, timeout=0.2)}
    assert heard == {name}


def test_room_that_was_reserved_for_actors_which_died_is_found_and_given_back(
    floor: Floor, monkeypatch: pytest.MonkeyPatch
):
    assert floor.cluster.names() == set()
    ray.util.placement_group([{"CPU": 1}], name="prolu-abandoned-e1", lifetime="detached")
    assert floor.cluster.names() == set(), "to look is dear, and not done at every turn"
    monkeypatch.setattr("workers.cluster._LOOK_SECONDS", 0.0)
    assert floor.cluster.names() == {"prolu-abandoned-e1"}
    another = RayCluster(floor.address, floor.namespace)
    floor.cluster.kill("prolu-abandoned-e1")
    assert (floor.cluster.names(), another.names()) == (set(), set())


class Parrot:
    """Answers every poll at once, but not that of attempts of the run `slow` before it is told to."""

    def __init__(self) -> None:
        self._told = threading.Event()

    def poll(self, acks: Acks) -> Reply:
        if any(attempt.run_id == "slow" for attempt in acks):
            self._told.wait(30)
        return Reply("node", [])

    def tell(self) -> None:
        self._told.set()


def _parrot() -> Any:
    return ray.remote(max_concurrency=2)(Parrot).remote()


def test_a_slow_actor_holds_up_nobody_and_is_heard_when_it_answers(ray_address: str):
    RayCluster(ray_address, "lines")  # connects
    lines, parrot = Lines("lines"), _parrot()
    names = ["slow", *(f"run-{number}" for number in range(100))]
    for name in names:
        lines.add(name, parrot)
    polled = lines.poll({name: {Attempt(name, 1): 0} for name in names}, timeout=60)
    assert {next(polled)[0] for _ in range(100)} == set(names) - {"slow"}
    ray.get(parrot.tell.remote())
    assert [name for name, _ in polled] == ["slow"]
    ray.kill(parrot)


def test_who_is_ended_while_others_are_heard_is_heard_no_more(ray_address: str):
    RayCluster(ray_address, "lines")  # connects
    lines = Lines("lines")
    for name in ("a", "b"):
        lines.add(name, _parrot())
    polled = lines.poll({name: {Attempt(name, 1): 0} for name in ("a", "b")}, timeout=60)
    first, _ = next(polled)
    (other,) = {"a", "b"} - {first}
    lines.kill(other)
    assert list(polled) == []
    lines.kill(first)


def test_actors_of_another_namespace_are_not_ours(floor: Floor):
    name, attempt = floor.start(steps=10_000_000)
    next(floor.reports(name, attempt))
    stranger = RayCluster(floor.address, "another-service")
    assert name not in stranger.names()
    assert not stranger.attach(name)


def test_a_node_offers_what_ray_counts(floor: Floor):
    (head,) = floor.cluster.nodes()
    assert (head.cpus, head.gpus) == (4, 3)
    assert head.memory_gb > ResourcesSpec().memory_gb


def test_ray_puts_shares_of_gpus_where_the_plan_expects_them_and_every_rank_says_where(floor: Floor):
    room = Room.of(node("head", gpus=3))
    shares, pair = (Asked(1, 0.6, 0.5), Asked(1, 0.4, 0.5)), Asked(1, 1, 0.5, ranks=2)
    expected = [(room.take(share),) for share in shares] + [(room.take(pair), room.take(pair))]
    assert expected == [(("0",),), (("0",),), (("1",), ("2",))]
    told = []
    for share in shares:  # with nothing to train: that takes no torch
        nobody = Attempt(str(uuid4()), 1)
        resources = ResourcesSpec(cpus=1, gpus=share.gpus, memory_gb=0.5)
        floor.cluster.start(f"prolu-{nobody}", [], floor.surroundings, resources)
        told.append(floor.devices(f"prolu-{nobody}", nobody, ranks=1))
    told.append(floor.devices(*floor.start(gpus=1, ranks=2), ranks=2))
    assert told == expected
