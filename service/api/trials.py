"""`/v1/sweeps/{id}/trials`: what a searching sweep asked for, and what came of it."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter

from prolu.client.wire import Page, TrialRead
from service.api.context import Parts, User
from service.api.lists import Cursor, Limit
from service.store import trials

router = APIRouter(prefix="/v1/sweeps", tags=["sweeps"])


@router.get("/{sweep_id}/trials", operation_id="list_sweep_trials", responses={404: {}, 409: {}})
def list_sweep_trials(
    sweep_id: UUID, services: Parts, _: User, limit: Limit = 100, cursor: Cursor = None
) -> Page[TrialRead]:
    """The trials of a sweep that searches, by number: what was set, objectives, and which of them no other one beats."""
    with services.database.read() as session:
        return trials.trials(session, sweep_id, limit=limit, cursor=cursor)
