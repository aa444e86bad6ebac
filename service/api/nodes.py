"""`/v1/nodes`: the cluster, and which of its nodes start nothing more."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body

from prolu.client.wire import DrainRequest, NodeRead, Page, UndrainRequest
from service.api.context import Parts, User
from service.domain.errors import Forbidden
from service.store import nodes
from service.store.users import Principal

router = APIRouter(prefix="/v1/nodes", tags=["queue"])


@router.get("", operation_id="list_nodes")
def list_nodes(services: Parts, _: User) -> Page[NodeRead]:
    """All nodes as the dispatcher last saw them, by name."""
    with services.database.read() as session:
        return Page(items=nodes.nodes(session))


@router.post(":drain", operation_id="drain_node", responses={403: {}, 404: {}, 413: {}, 415: {}})
def drain_node(body: Annotated[DrainRequest, Body()], services: Parts, user: User) -> NodeRead:
    """Have a node start nothing more; with `evict`, what runs there checkpoints and goes back to the queue."""
    _require_admin(user)
    with services.database.begin() as session:
        return nodes.drain(session, body.node, evict=body.evict, reason=body.reason)


@router.post(":undrain", operation_id="undrain_node", responses={403: {}, 404: {}, 413: {}, 415: {}})
def undrain_node(body: Annotated[UndrainRequest, Body()], services: Parts, user: User) -> Page[NodeRead]:
    """Have a node start runs again, also one that is not here at the moment. Answers with the nodes as they are now."""
    _require_admin(user)
    with services.database.begin() as session:
        nodes.undrain(session, body.node)
        return Page(items=nodes.nodes(session))


def _require_admin(user: Principal) -> None:
    if not user.is_admin:
        raise Forbidden("Nodes are drained by administrators; ask one of them.")
