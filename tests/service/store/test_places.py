"""Where attempts sit: on which nodes and devices, by the plan and then by what they say, and where they did not come up."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from sqlalchemy import update

from prolu.client.wire import NodeRead
from service.domain.planning import Decision, Policy
from service.domain.retries import AVOID_NODE_SECONDS
from service.store import queue, reports, situation
from service.store.db import Database, database_now
from service.store.explanation import explain
from service.store.models import AttemptRow
from service.store.planned import Planned
from service.store.reports import Delivery
from tests.service.store.operations import attempt_of, kinds, see, state, submit, wait_out

GPU_NODE = NodeRead(name="node-1", cpus=8, gpus=2, memory_gb=64)
SMALL = [NodeRead(name=name, cpus=1, gpus=0, memory_gb=64) for name in ("node-1", "node-2")]


def start(database: Database, *cluster: NodeRead) -> list[Decision]:
    """Plan and claim, as the dispatcher does, and return the decisions."""
    with database.begin() as session:
        see(session, *cluster)
    with database.begin() as session:
        decisions = situation.read(session, Policy()).plan(Policy()).decisions
        starts = [decision for decision in decisions if decision.start]
        queue.claim(
            session,
            [decision.run_id for decision in starts],
            holder="test",
            lease_seconds=60,
            nodes={decision.run_id: decision.nodes for decision in starts},
            devices={decision.run_id: decision.devices for decision in starts},
        )
    return decisions


def tell(database: Database, run_id: UUID, *devices: tuple[str, ...], nodes: tuple[str, ...] = ()) -> None:
    with database.begin() as session:
        said = Delivery(run_id, 1, "node-1", [], nodes, devices)
        reports.apply_all(session, [said], lease_seconds=60)


def live_devices(database: Database) -> dict[UUID, tuple[tuple[str, ...], ...]]:
    with database.read() as session:
        return {one.run_id: one.devices for one in situation.read(session, Policy()).live}


def not_started(database: Database, run_id: UUID, epoch: int) -> None:
    with database.begin() as session:
        queue.lose(session, run_id, epoch, failure_class="not_started", message="nothing was heard of it")


def test_a_run_is_expected_on_devices_until_its_worker_names_others(database: Database, owner_id: UUID) -> None:
    half = submit(database, owner_id, resources={"gpus": 0.5})
    plain = submit(database, owner_id)
    start(database, GPU_NODE)
    assert live_devices(database) == {half: (("0",),), plain: ()}
    tell(database, half, ("GPU-4f2a",))
    tell(database, plain, ())
    assert live_devices(database) == {half: (("GPU-4f2a",),), plain: ()}
    assert attempt_of(database, half, 1).devices == [["GPU-4f2a"]]


def test_the_devices_of_a_gang_are_believed_once_every_rank_has_named_them(database: Database, owner_id: UUID) -> None:
    gang = submit(database, owner_id, resources={"gpus": 1, "ranks": 2})
    start(database, GPU_NODE)
    tell(database, gang, ("4",), nodes=("node-1",))
    assert live_devices(database) == {gang: (("0",), ("1",))}
    tell(database, gang, ("4",), ("5",), nodes=("node-1", "node-1"))
    assert live_devices(database) == {gang: (("4",), ("5",))}


def test_a_whole_gpu_is_not_seen_in_halves_that_sit_apart(database: Database, owner_id: UUID) -> None:
    halves = [submit(database, owner_id, resources={"gpus": 0.5}) for _ in range(2)]
    start(database, GPU_NODE)
    for half, device in zip(halves, ("0", "1"), strict=True):
        tell(database, half, (device,))
    whole = submit(database, owner_id, resources={"gpus": 1})
    (decision,) = start(database, GPU_NODE)
    assert (decision.run_id, decision.cause) == (whole, "room")
    tell(database, halves[0], ("1",))
    (decision,) = start(database, GPU_NODE)
    assert (decision.start, decision.devices) == (True, (("0",),))


def test_a_run_that_did_not_come_up_waits_and_then_starts_elsewhere(database: Database, owner_id: UUID) -> None:
    run_id = submit(database, owner_id)
    (first,) = start(database, *SMALL)
    not_started(database, run_id, 1)
    assert kinds(database, run_id)[-2:] == ["lost", "retry_wait"]
    wait_out(database, run_id)
    (second,) = start(database, *SMALL)
    assert {first.nodes, second.nodes} == {("node-1",), ("node-2",)}
    assert (
        second.reason
        == f"1 CPU and 2 GiB away from {first.nodes[0]}, where it did not come up, are free on {second.nodes[0]}"
    )


def test_explain_names_the_node_that_a_run_avoids(database: Database, owner_id: UUID) -> None:
    run_id = submit(database, owner_id)
    (first,) = start(database, *SMALL)
    not_started(database, run_id, 1)
    with database.read() as session:
        waits = explain(session, Planned(database, Policy()).view(), run_id).reason
    assert "Attempt 1 ended (not_started): nothing was heard of it" in waits
    blocker = submit(database, owner_id, priority=90, limits={"run_seconds": 600})
    start(database, *[one for one in SMALL if (one.name,) != first.nodes])
    assert state(database, blocker) == "starting"
    with database.begin() as session:
        see(session, *SMALL)
    wait_out(database, run_id)
    with database.read() as session:
        held = explain(session, Planned(database, Policy()).view(), run_id)
    assert held.cause == "room"
    assert f"away from {first.nodes[0]}, where it did not come up" in held.reason


def test_a_node_is_avoided_for_a_while_and_only_if_there_is_another(database: Database, owner_id: UUID) -> None:
    run_id = submit(database, owner_id)
    start(database, SMALL[0])
    not_started(database, run_id, 1)
    wait_out(database, run_id)
    assert start(database, SMALL[0])[0].start
    not_started(database, run_id, 2)
    with database.begin() as session:
        past = database_now(session) - timedelta(seconds=AVOID_NODE_SECONDS + 1)
        session.execute(update(AttemptRow).values(finished_at=past))
    wait_out(database, run_id)
    (decision,) = start(database, *SMALL)
    assert decision.nodes == ("node-1",)
