"""The plan: order, room, and the limit of a sweep."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from prolu.client.wire import NodeRead
from prolu.spec import ResourcesSpec
from service.domain.scheduling import Candidate, Decision, plan

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SWEEP = UUID(int=7)


@dataclass(frozen=True)
class Live:
    sweep_id: UUID | None
    resources: ResourcesSpec
    node: str | None = None


def asks(cpus: int = 1, gpus: float = 0.0, memory_gb: float = 1.0) -> ResourcesSpec:
    return ResourcesSpec(cpus=cpus, gpus=gpus, memory_gb=memory_gb)


def candidate(
    number: int, resources: ResourcesSpec | None = None, *, sweep: bool = False, limit: int | None = None
) -> Candidate:
    sweep_id = SWEEP if sweep else None
    return Candidate(UUID(int=number), sweep_id, "ada", 50, NOW, resources or asks(), limit)


def node(name: str, cpus: float = 4, gpus: float = 0, memory_gb: float = 16) -> NodeRead:
    return NodeRead(name=name, cpus=cpus, gpus=gpus, memory_gb=memory_gb)


def started(decisions: list[Decision]) -> list[int]:
    return [decision.run_id.int for decision in decisions if decision.start]


def test_as_many_start_as_fit_in_the_order_of_the_queue() -> None:
    decisions = plan([candidate(1), candidate(2), candidate(3)], [], [node("a", cpus=2)])
    assert started(decisions) == [1, 2]
    assert [decision.run_id.int for decision in decisions] == [1, 2, 3]
    assert decisions[2].reason == "waits until 1 CPU and 1 GiB are free on one node"


def test_what_live_runs_use_is_not_given_again() -> None:
    live = [Live(None, asks(cpus=3))]
    assert started(plan([candidate(1), candidate(2)], live, [node("a", cpus=4)])) == [1]


def test_a_live_run_is_seated_on_its_own_node() -> None:
    nodes = [node("a", cpus=4), node("b", cpus=2)]
    live = [Live(None, asks(cpus=2), node="b")]
    assert started(plan([candidate(1, asks(cpus=4))], live, nodes)) == [1]


def test_a_run_is_not_spread_over_two_nodes() -> None:
    assert started(plan([candidate(1, asks(cpus=3))], [], [node("a", cpus=2), node("b", cpus=2)])) == []


def test_memory_and_gpus_count_as_cpus_do() -> None:
    nodes = [node("a", cpus=8, gpus=1, memory_gb=4)]
    queue = [candidate(1, asks(gpus=0.5)), candidate(2, asks(gpus=0.5)), candidate(3, asks(gpus=0.5))]
    assert started(plan(queue, [], nodes)) == [1, 2]
    assert started(plan([candidate(1, asks(memory_gb=3)), candidate(2, asks(memory_gb=3))], [], nodes)) == [1]


def test_a_run_too_large_for_any_node_holds_up_nobody() -> None:
    decisions = plan([candidate(1, asks(gpus=1)), candidate(2)], [], [node("a")])
    assert started(decisions) == [2]
    assert decisions[0].reason == "no node is large enough for 1 CPU, 1 GPU and 1 GiB"


def test_a_large_run_that_waits_is_not_starved_by_small_ones_behind_it() -> None:
    live = [Live(None, asks(cpus=1))]
    queue = [candidate(1, asks(cpus=4)), candidate(2), candidate(3)]
    assert started(plan(queue, live, [node("a", cpus=4)])) == []


def test_small_runs_use_the_nodes_that_a_waiting_large_one_does_not_need() -> None:
    live = [Live(None, asks(gpus=1), node="gpu")]
    queue = [candidate(1, asks(gpus=1)), candidate(2)]
    nodes = [node("cpu", cpus=1), node("gpu", cpus=4, gpus=1)]
    assert started(plan(queue, live, nodes)) == [2]


def test_a_sweep_trains_no_more_runs_at_once_than_it_allows() -> None:
    live = [Live(SWEEP, asks())]
    queue = [candidate(number, sweep=True, limit=2) for number in (1, 2, 3)] + [candidate(4)]
    decisions = plan(queue, live, [node("a", cpus=8)])
    assert started(decisions) == [1, 4]
    assert decisions[1].reason == "its sweep trains 2 runs already, as many as max_concurrent allows"


def test_nothing_starts_before_the_cluster_is_known() -> None:
    assert plan([candidate(1)], [], []) == [Decision(UUID(int=1), False, "no node of the cluster is known yet")]


sizes = st.builds(asks, st.integers(1, 8), st.sampled_from([0.0, 0.25, 1.0]), st.sampled_from([1.0, 4.0]))
clusters = st.lists(st.tuples(st.integers(1, 16), st.integers(0, 4)), min_size=1, max_size=4)


@given(wanted=st.lists(sizes, max_size=12), shape=clusters)
def test_a_plan_never_promises_more_than_the_cluster_has(
    wanted: list[ResourcesSpec], shape: list[tuple[int, int]]
) -> None:
    nodes = [node(str(index), cpus, gpus) for index, (cpus, gpus) in enumerate(shape)]
    decisions = plan([candidate(index, resources) for index, resources in enumerate(wanted)], [], nodes)
    chosen = [wanted[index] for index in started(decisions)]
    assert sum(resources.cpus for resources in chosen) <= sum(cpus for cpus, _ in shape)
    assert sum(resources.gpus for resources in chosen) <= sum(gpus for _, gpus in shape)
    assert len(decisions) == len(wanted)
