"""`/v1/checkpoints/{id}/exports`, `:recompute` and `/v1/chores`: have something made of a checkpoint, and see what became of it.

Nothing here reads weights: the dispatcher has it done on the cluster. What was made is downloaded where checkpoints are.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import Response
from sqlalchemy.orm import Session

from prolu.client.wire import ChoreKind, ChoreRead, ExportRequest
from prolu.spec.run import ExportFormat
from service.api.answers import written
from service.api.context import Parts, Services, User
from service.api.repetition import IdempotencyKey, once
from service.domain.access import Principal
from service.store import audit, chores, pinning, results

router = APIRouter(prefix="/v1/chores", tags=["checkpoints"])
of_checkpoints = APIRouter(prefix="/v1/checkpoints", tags=["checkpoints"])

_ASKED: dict[int | str, dict[str, Any]] = {
    200: {"model": ChoreRead, "description": "It is done already: what came of it."},
    202: {"model": ChoreRead, "description": "It will be done; `Location` is where to look, every second or so."},
    403: {},
    404: {},
    409: {},
}


@of_checkpoints.post(
    "/{checkpoint_id}/exports", status_code=202, operation_id="export_checkpoint", responses={**_ASKED, 422: {}}
)
def export_checkpoint(
    checkpoint_id: UUID, body: ExportRequest, services: Parts, user: User, idempotency_key: IdempotencyKey = None
) -> Response:
    """Convert the checkpoint for another library, once: then it is downloaded with `format`, by anybody."""
    path = f"POST /v1/checkpoints/{checkpoint_id}/exports"
    return _ask(services, user, idempotency_key, (path, body), checkpoint_id, "export", body.format)


@of_checkpoints.post(
    "/{checkpoint_id}:recompute", status_code=202, operation_id="recompute_checkpoint", responses=_ASKED
)
def recompute_checkpoint(
    checkpoint_id: UUID, services: Parts, user: User, idempotency_key: IdempotencyKey = None
) -> Response:
    """Compute the bias statistics of the checkpoint again, from its files alone; what its run reported stays as it is."""
    path = f"POST /v1/checkpoints/{checkpoint_id}:recompute"
    return _ask(services, user, idempotency_key, (path, None), checkpoint_id, "recompute", None)


@router.get("/{chore_id}", operation_id="get_chore", responses={404: {}})
def get_chore(chore_id: UUID, services: Parts, _: User) -> ChoreRead:
    """What was asked for: what it waits for, why it failed, or what came of it."""
    with services.database.read() as session:
        return chores.read(session, chore_id)


def _ask(
    services: Services,
    user: Principal,
    key: str | None,
    request: tuple[str, ExportRequest | None],
    checkpoint_id: UUID,
    kind: ChoreKind,
    layout: ExportFormat | None,
) -> Response:
    def work(session: Session) -> ChoreRead:
        checkpoint = pinning.held_checkpoint(session, checkpoint_id)
        folder = results.checkpoint(session, checkpoint_id)[1]
        chore, fresh = chores.ask(session, checkpoint, folder, kind, layout, asked_by=user.user_id)
        if fresh:
            told = {"chore": str(chore.id), "kind": kind} | ({"format": layout} if layout else {})
            audit.record(session, user, "checkpoint", checkpoint_id, after=told)
        return chore

    chore = once(services, user, key, request, work=work, answer_type=ChoreRead)
    status = 200 if chore.state == "succeeded" else 202
    return written(chore, status=status, location=f"/v1/chores/{chore.id}")
