"""The cluster as the dispatcher last saw it, for the plan, for checks at submission and for people.

Nodes are named `address/id`, and Ray gives a node another id each time that it starts. So a drain is of the address, and
holds until it is taken back; only where several nodes share one is it of the node alone, and ends with it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, false, func, null, select, true, union_all
from sqlalchemy.orm import Session

from prolu.client.wire import NodeRead
from service.domain.errors import NotFound
from service.domain.node_names import address_of
from service.store.db import Database, database_now
from service.store.lease import BELIEVED
from service.store.models import DepartedNodeRow, DispatcherRow, DrainRow, NodeRow

# A node that has gone may be back: machines restart, and clusters that grow and shrink let them go.
MAY_BE_BACK = timedelta(hours=1)
# Whether a drain, of an address or of one node, holds a node: at most one does.
_HELD = func.substr(NodeRow.name + "/", 1, func.length(DrainRow.node) + 1) == DrainRow.node + "/"


def record_nodes(session: Session, nodes: Sequence[NodeRead]) -> bool:
    """Keep the cluster as the dispatcher sees it. Writes only what has changed, and says whether anything has."""
    wanted = {node.name: node for node in nodes}
    known = {row.name: row for row in session.scalars(select(NodeRow))}
    gone = sorted(known.keys() - wanted.keys())
    came = sorted(wanted.keys() - known.keys())
    if gone or came:
        _remember(session, [known[name] for name in gone], present=wanted.keys())
    if gone:
        session.execute(delete(NodeRow).where(NodeRow.name.in_(gone)))
        session.execute(delete(DrainRow).where(DrainRow.node.in_(name for name in gone if name != address_of(name))))
    changed = [name for name, node in wanted.items() if name not in known or _offer(known[name]) != _offer(node)]
    for name in changed:
        node = wanted[name]
        session.merge(
            NodeRow(name=name, cpus=node.cpus, gpus=node.gpus, gpu_type=node.gpu_type, memory_gb=node.memory_gb)
        )
    session.flush()
    return bool(gone or changed)


def _remember(session: Session, gone: Sequence[NodeRow], *, present: Collection[str]) -> None:
    """Keep what nodes offered that have gone; forget those of long ago, and those whose machines are back."""
    now = database_now(session)
    back = {address_of(name) for name in present}
    for row in session.scalars(select(DepartedNodeRow)):
        if row.gone_at <= now - MAY_BE_BACK or address_of(row.name) in back:
            session.delete(row)
    for node in gone:
        if address_of(node.name) not in back:
            offer = {"cpus": node.cpus, "gpus": node.gpus, "gpu_type": node.gpu_type, "memory_gb": node.memory_gb}
            session.merge(DepartedNodeRow(name=node.name, **offer, gone_at=now))


def evicted(session: Session) -> set[str]:
    """Give the names of the nodes that are cleared: what runs there goes back to the queue."""
    return set(session.scalars(select(NodeRow.name).join(DrainRow, _HELD).where(DrainRow.evict)))


def nodes(session: Session) -> list[NodeRead]:
    """Give the nodes of the cluster as the dispatcher last saw them; none before it ran."""
    return [NodeRead(**row._mapping) for row in session.connection().execute(_NODES)]


# Made once, since every submission asks for them.
_NODES = (
    select(
        NodeRow.name,
        NodeRow.cpus,
        NodeRow.gpus,
        NodeRow.gpu_type,
        NodeRow.memory_gb,
        DrainRow.node.is_not(None).label("draining"),
        func.coalesce(DrainRow.evict, false()).label("evicting"),
        DrainRow.reason.label("drain_reason"),
    )
    .outerjoin(DrainRow, _HELD)
    .order_by(NodeRow.name)
)


def drain(session: Session, name: str, *, evict: bool, reason: str | None) -> NodeRead:
    """Have a node start nothing more, also after Ray has restarted there. A second call replaces the first. Raises NotFound."""
    require(session, name)
    address = address_of(name)
    known = session.scalars(select(NodeRow.name)).all()
    alone = [one for one in known if address_of(one) == address] == [name]
    if alone:
        session.execute(delete(DrainRow).where(DrainRow.node == name))  # from when others were at its address
    held = address if alone or session.get(DrainRow, address) is not None else name
    session.merge(DrainRow(node=held, evict=evict, reason=reason, created_at=database_now(session)))
    session.flush()
    return require(session, name)


def undrain(session: Session, name: str) -> bool:
    """Have a node start runs again, or one that has gone when it is back. Raises NotFound for one that nobody knows.

    Any name that it had will do, and its address. Says whether it was drained.
    """
    ended = delete(DrainRow).where(DrainRow.node.in_((name, address_of(name)))).returning(DrainRow.node)
    drained = session.execute(ended).first()
    if drained is None:
        require(session, name)
    return drained is not None


def require(session: Session, name: str) -> NodeRead:
    """Give a node as the dispatcher last saw it. Raises NotFound."""
    found = next((node for node in nodes(session) if node.name == name), None)
    if found is None:
        raise NotFound(f"There is no node {name!r}; GET /v1/nodes lists those that there are.")
    return found


def believed_nodes(database: Database) -> list[NodeRead]:
    """Give the nodes while the dispatcher lives, and those that left within the hour: what they offer, they may offer again.

    None once the dispatcher was silent for 30 seconds, since the cluster may be another. One statement: submissions ask.
    """
    with database.look() as connection:
        rows = connection.execute(_BELIEVED_ON_SQLITE if database.is_sqlite else _BELIEVED).mappings().all()
    return [NodeRead(**{name: row[name] for name in NodeRead.model_fields}) for row in rows if row["name"] is not None]


def _believed(silent_since: ColumnElement[datetime], gone_since: ColumnElement[datetime]) -> Select[Any]:
    departed = select(
        DepartedNodeRow.name,
        DepartedNodeRow.cpus,
        DepartedNodeRow.gpus,
        DepartedNodeRow.gpu_type,
        DepartedNodeRow.memory_gb,
        false().label("draining"),
        false().label("evicting"),
        null().label("drain_reason"),
    ).where(DepartedNodeRow.gone_at > gone_since)
    known = union_all(_NODES.order_by(None), departed).subquery()
    return (
        select(*known.columns)
        .select_from(DispatcherRow)
        .where(DispatcherRow.seen_at > silent_since)
        .outerjoin(known, true())
        .order_by(known.c.name)
    )


def _ago_on_sqlite(time: timedelta) -> ColumnElement[datetime]:
    return func.strftime("%Y-%m-%d %H:%M:%f", "now", f"-{time.total_seconds()} seconds")


_BELIEVED = _believed(func.clock_timestamp() - BELIEVED, func.clock_timestamp() - MAY_BE_BACK)
_BELIEVED_ON_SQLITE = _believed(_ago_on_sqlite(BELIEVED), _ago_on_sqlite(MAY_BE_BACK))


def _offer(node: NodeRow | NodeRead) -> tuple[float, float, str | None, float]:
    return node.cpus, node.gpus, node.gpu_type, node.memory_gb
