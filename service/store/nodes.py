"""The cluster as the dispatcher last saw it, for the plan, for checks at submission and for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from prolu.client.wire import NodeRead
from service.store.db import database_now
from service.store.models import DispatcherRow, DrainRow, NodeRow

_SIGN_OF_LIFE_SECONDS = 5
_BELIEVED_SECONDS = 30


def record_nodes(session: Session, nodes: Sequence[NodeRead]) -> None:
    """Keep the cluster as the dispatcher sees it, and its sign of life, which is written every 5 seconds at most."""
    now = database_now(session)
    seen = session.get(DispatcherRow, 1, with_for_update=True)
    fresh = seen is not None and now - seen.seen_at < timedelta(seconds=_SIGN_OF_LIFE_SECONDS)
    rows = {row.name: row for row in session.scalars(select(NodeRow))}
    wanted = {node.name: node for node in nodes}
    if fresh and {name: _offer(row) for name, row in rows.items()} == {
        name: _offer(node) for name, node in wanted.items()
    }:
        return
    if seen is None:
        session.add(DispatcherRow(id=1, seen_at=now))
    else:
        seen.seen_at = now
    session.execute(delete(NodeRow).where(NodeRow.name.not_in(wanted)))
    for node in wanted.values():
        session.merge(
            NodeRow(name=node.name, cpus=node.cpus, gpus=node.gpus, gpu_type=node.gpu_type, memory_gb=node.memory_gb)
        )
    session.flush()


def nodes(session: Session) -> list[NodeRead]:
    """Give the nodes of the cluster as the dispatcher last saw them; none before it ran."""
    draining = set(session.scalars(select(DrainRow.node)))
    return [
        NodeRead(
            name=row.name,
            cpus=row.cpus,
            gpus=row.gpus,
            gpu_type=row.gpu_type,
            memory_gb=row.memory_gb,
            draining=row.name in draining,
        )
        for row in session.scalars(select(NodeRow).order_by(NodeRow.name))
    ]


def believed_nodes(session: Session) -> list[NodeRead]:
    """Give the nodes while the dispatcher lives; none once it was silent for 30 seconds, since the cluster may be another."""
    seen_at = dispatcher_seen_at(session)
    if seen_at is None or database_now(session) - seen_at > timedelta(seconds=_BELIEVED_SECONDS):
        return []
    return nodes(session)


def dispatcher_seen_at(session: Session) -> datetime | None:
    """When the dispatcher last gave a sign of life; None before the first."""
    seen = session.get(DispatcherRow, 1)
    return seen.seen_at if seen else None


def _offer(node: NodeRow | NodeRead) -> tuple[float, float, str | None, float]:
    return node.cpus, node.gpus, node.gpu_type, node.memory_gb
