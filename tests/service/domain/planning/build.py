"""Runs and nodes for the tests of the plan, with everything that does not matter left out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from service.domain.planning.occupants import Occupant
from service.domain.planning.placement import Asked, Node
from service.domain.planning.plan import Candidate, Plan, Policy, plan

NOW = datetime(2026, 1, 8, tzinfo=UTC)
SWEEP = UUID(int=7)


def waits(number: int, owner: str = "ada", *, hours: float = 0.0, **more: Any) -> Candidate:
    asked = Asked(more.pop("cpus", 1), more.pop("gpus", 0.0), 1.0, more.pop("ranks", 1), more.pop("gpu_type", None))
    return Candidate(UUID(int=number), owner, NOW - timedelta(hours=hours), asked, **more)


def trains(number: int, owner: str = "ada", *, node: str | None = "a", **more: Any) -> Occupant:
    asked = Asked(more.pop("cpus", 1), more.pop("gpus", 0.0), 1.0, more.pop("ranks", 1))
    nodes = more.pop("nodes", (node,) * asked.ranks if node else ())
    return Occupant(UUID(int=number), owner, asked, nodes, **more)


def node(name: str = "a", cpus: float = 4, gpus: float = 0, **more: Any) -> Node:
    return Node(name, cpus, gpus, 64.0, **more)


def planned(
    waiting: list[Candidate],
    live: list[Occupant] | None = None,
    nodes: list[Node] | None = None,
    *,
    usage: dict[str, float] | None = None,
    weights: dict[str, float] | None = None,
    policy: Policy | None = None,
) -> Plan:
    return plan(
        waiting,
        live or [],
        [node()] if nodes is None else nodes,
        usage=usage or {},
        weights=weights or {},
        now=NOW,
        policy=policy or Policy(),
    )


def started(found: Plan) -> list[int]:
    return [decision.run_id.int for decision in found.decisions if decision.start]


def order(found: Plan) -> list[int]:
    return [decision.run_id.int for decision in found.decisions]
