"""`/v1/queue`: what works, what waits and why, the shares; and why one run waits."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter

from prolu.client.wire import ExplainRead, QueueRead, SharesRead
from service.api.context import Parts, User
from service.api.lists import Limit
from service.store import explanation

router = APIRouter(prefix="/v1", tags=["queue"])


@router.get("/queue", operation_id="get_queue")
def get_queue(services: Parts, _: User, limit: Limit = 100) -> QueueRead:
    """Live runs, the next `limit` runs that wait, in order, each with its reason, and the nodes of the cluster."""
    view = services.planned.view()
    with services.database.read() as session:
        return explanation.queue(session, view, limit=limit)


@router.get("/queue/shares", operation_id="get_shares")
def get_shares(services: Parts, _: User) -> SharesRead:
    """How much of the cluster each user has had of late, beside how much is theirs."""
    return explanation.shares(services.planned.view(), half_life_seconds=services.settings.policy.half_life_seconds)


@router.get("/runs/{run_id}/explain", operation_id="explain_run", responses={404: {}})
def explain_run(run_id: UUID, services: Parts, _: User) -> ExplainRead:
    """Why the run waits, what stands before it, and when it would start."""
    view = services.planned.view()
    with services.database.read() as session:
        return explanation.explain(session, view, run_id)
