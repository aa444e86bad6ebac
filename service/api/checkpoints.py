"""`/v1/checkpoints`: what a checkpoint holds; its bytes are in `service.api.downloads`."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter

from prolu.client.wire import CheckpointRead
from service.api.context import Parts, User
from service.store import results

router = APIRouter(prefix="/v1/checkpoints", tags=["checkpoints"])


@router.get("/{checkpoint_id}", operation_id="get_checkpoint", responses={404: {}})
def get_checkpoint(checkpoint_id: UUID, services: Parts, _: User) -> CheckpointRead:
    """One checkpoint, its files and their checksums."""
    with services.database.read() as session:
        return results.checkpoint(session, checkpoint_id)[0]
