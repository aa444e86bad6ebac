"""`/v1/nodes`: the cluster, and which of its nodes start nothing more."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body
from sqlalchemy.orm import Session

from prolu.client.wire import DrainRequest, NodeRead, Page, UndrainRequest
from service.api.context import Parts, User
from service.domain.access import Principal
from service.store import audit, nodes

router = APIRouter(prefix="/v1/nodes", tags=["queue"])


@router.get("", operation_id="list_nodes")
def list_nodes(services: Parts, _: User) -> Page[NodeRead]:
    """All nodes as the dispatcher last saw them, by name."""
    with services.database.read() as session:
        return Page(items=nodes.nodes(session))


@router.post(":drain", operation_id="drain_node", responses={403: {}, 404: {}, 413: {}, 415: {}})
def drain_node(body: Annotated[DrainRequest, Body()], services: Parts, user: User) -> NodeRead:
    """Have a node start nothing more; with `evict`, what runs there checkpoints and goes back to the queue."""
    with services.database.begin() as session:
        before = nodes.require(session, body.node)
        drained = nodes.drain(session, body.node, evict=body.evict, reason=body.reason)
        _note(session, user, before, drained)
    return drained


@router.post(":undrain", operation_id="undrain_node", responses={403: {}, 404: {}, 413: {}, 415: {}})
def undrain_node(body: Annotated[UndrainRequest, Body()], services: Parts, user: User) -> Page[NodeRead]:
    """Have a node start runs again, also one that is not here at the moment. Answers with the nodes as they are now."""
    with services.database.begin() as session:
        if nodes.undrain(session, body.node):
            audit.record(session, user, "node", body.node, before={"draining": True}, after={"draining": False})
        return Page(items=nodes.nodes(session))


def _note(session: Session, user: Principal, before: NodeRead, after: NodeRead) -> None:
    briefs = [node.model_dump(include={"draining", "evicting", "drain_reason"}) for node in (before, after)]
    audit.record_change(session, user, "node", after.name, before=briefs[0], after=briefs[1])
