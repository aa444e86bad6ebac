"""`/v1/queue`: what works, what waits, and the cluster behind it."""

from __future__ import annotations

from fastapi import APIRouter

from prolu.client.wire import QueueRead
from service.api.context import Parts, User
from service.api.lists import Limit
from service.store import lists

router = APIRouter(prefix="/v1/queue", tags=["queue"])


@router.get("", operation_id="get_queue")
def get_queue(services: Parts, _: User, limit: Limit = 100) -> QueueRead:
    """Live runs, the next `limit` runs that wait, in order, and the nodes of the cluster."""
    with services.database.read() as session:
        return lists.queue(session, limit=limit)
