"""`POST /v1/sweeps/{id}:share|unshare`: with whom a sweep is edited together.

An editor decides about the sweep and all its runs as its owner does, but for sharing it; `service.domain.access` says it all.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi import APIRouter
from sqlalchemy.orm import Session

from prolu.client.wire import SharingRequest, SweepRead
from service.api.context import Parts, User
from service.api.ownership import note_sweep, require_own_sweep
from service.api.repetition import IdempotencyKey, once
from service.store import lists, sharing, wishes

router = APIRouter(prefix="/v1/sweeps", tags=["sweeps"])

_ERRORS: dict[int | str, dict[str, Any]] = {403: {}, 404: {}, 413: {}, 415: {}}


@router.post("/{sweep_id}:share", operation_id="share_sweep", responses=_ERRORS)
def share_sweep(
    sweep_id: UUID, body: SharingRequest, services: Parts, user: User, idempotency_key: IdempotencyKey = None
) -> SweepRead:
    """Let users decide about the sweep and its runs as its owner does: cancel, pause, resume, retry, extend, change.

    They cannot share it themselves. What they add counts against the owner's limits, and the owner's share of the cluster pays.
    """

    def work(session: Session) -> SweepRead:
        before = require_own_sweep(session, user, sweep_id, "share", by_owner_alone=True)
        wishes.locked_sweep(session, sweep_id)
        sharing.share(session, sweep_id, owner_id=before.owner_id, names=body.users)
        note_sweep(session, user, sweep_id, before)
        return lists.sweep(session, sweep_id)

    request = (f"POST /v1/sweeps/{sweep_id}:share", body)
    return once(services, user, idempotency_key, request, work=work, answer_type=SweepRead)


@router.post("/{sweep_id}:unshare", operation_id="unshare_sweep", responses=_ERRORS)
def unshare_sweep(
    sweep_id: UUID, body: SharingRequest, services: Parts, user: User, idempotency_key: IdempotencyKey = None
) -> SweepRead:
    """Share the sweep with these users no longer. What they did stays as it is."""

    def work(session: Session) -> SweepRead:
        before = require_own_sweep(session, user, sweep_id, "unshare", by_owner_alone=True)
        wishes.locked_sweep(session, sweep_id)
        sharing.unshare(session, sweep_id, names=body.users)
        note_sweep(session, user, sweep_id, before)
        return lists.sweep(session, sweep_id)

    request = (f"POST /v1/sweeps/{sweep_id}:unshare", body)
    return once(services, user, idempotency_key, request, work=work, answer_type=SweepRead)
