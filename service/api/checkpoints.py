"""`/v1/checkpoints`: list, look, verify, pin, delete; their bytes are in `service.api.downloads`."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response
from sqlalchemy.orm import Session

from prolu.client.wire import CheckpointPatch, CheckpointRead, Page, PruneRead, PruneRequest, TargetKind, VerifyRead
from service.api.context import Parts, User
from service.api.lists import Cursor, Limit
from service.api.ownership import require_own_run, require_own_sweep
from service.api.repetition import IdempotencyKey, once
from service.api.tags import IfMatch, require_match, tag_of
from service.domain.access import Principal
from service.store import audit, deletion, pinning, pruning, results
from service.store.verification import verify

router = APIRouter(prefix="/v1/checkpoints", tags=["checkpoints"])
of_runs = APIRouter(prefix="/v1/runs", tags=["runs"])
of_sweeps = APIRouter(prefix="/v1/sweeps", tags=["sweeps"])

_ERRORS: dict[int | str, dict[str, Any]] = {403: {}, 404: {}, 409: {}}
_BODY_ERRORS: dict[int | str, dict[str, Any]] = {**_ERRORS, 413: {}, 415: {}}


@router.get("", operation_id="list_all_checkpoints")
def list_all_checkpoints(
    services: Parts,
    _: User,
    run_id: Annotated[UUID | None, Query(description="Only checkpoints of this run.")] = None,
    sweep_id: Annotated[UUID | None, Query(description="Only checkpoints of the runs of this sweep.")] = None,
    final: Annotated[
        bool | None, Query(description="Only those that are their run's last, or only those that are not.")
    ] = None,
    pinned: Annotated[bool | None, Query(description="Only those that are pinned, or only those that are not.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[CheckpointRead]:
    """The checkpoints of all runs, the newest first."""
    with services.database.read() as session:
        return results.all_checkpoints(
            session, run_id=run_id, sweep_id=sweep_id, final=final, pinned=pinned, limit=limit, cursor=cursor
        )


@router.get("/{checkpoint_id}", operation_id="get_checkpoint", responses={404: {}})
def get_checkpoint(checkpoint_id: UUID, services: Parts, _: User, response: Response) -> CheckpointRead:
    """One checkpoint, its files and their checksums; its ETag changes with its pin."""
    with services.database.read() as session:
        found = results.checkpoint(session, checkpoint_id)[0]
    response.headers["ETag"] = tag_of(found)
    return found


@router.post("/{checkpoint_id}:verify", operation_id="verify_checkpoint", responses={404: {}})
def verify_checkpoint(checkpoint_id: UUID, services: Parts, _: User) -> VerifyRead:
    """Read every file of the checkpoint and compare it with its checksum; say which differs and how. Changes nothing."""
    with services.database.read() as session:
        checkpoint, folder = results.checkpoint(session, checkpoint_id)
    return verify(services.artifacts, checkpoint, folder)


@router.patch("/{checkpoint_id}", operation_id="change_checkpoint", responses={**_BODY_ERRORS, 412: {}})
def change_checkpoint(
    checkpoint_id: UUID,
    body: CheckpointPatch,
    services: Parts,
    user: User,
    response: Response,
    if_match: IfMatch = None,
) -> CheckpointRead:
    """Pin the checkpoint, so that no policy deletes it, or unpin it; what the body leaves out stays."""
    with services.database.begin() as session:
        found = pinning.held_checkpoint(session, checkpoint_id)
        require_own_run(session, user, found.run_id, "change checkpoints of")
        require_match(if_match, found)
        if body.pinned is not None and body.pinned != found.pinned:
            before, after = {"pinned": found.pinned}, {"pinned": body.pinned}
            found = pinning.pin(session, checkpoint_id, pinned=body.pinned)
            audit.record(session, user, "checkpoint", checkpoint_id, before=before, after=after)
    response.headers["ETag"] = tag_of(found)
    return found


@router.delete("/{checkpoint_id}", status_code=204, operation_id="delete_checkpoint", responses=_ERRORS)
def delete_checkpoint(checkpoint_id: UUID, services: Parts, user: User) -> None:
    """Delete the checkpoint, unless it is pinned or a run goes on from it. It is gone from here at once, and its files soon."""
    with services.database.begin() as session:
        found, _ = results.checkpoint(session, checkpoint_id)
        require_own_run(session, user, found.run_id, "delete checkpoints of")
        deletion.mark_one(session, checkpoint_id)
        told = {"deleted": True, "run_id": str(found.run_id), "step": found.step}
        audit.record(session, user, "checkpoint", checkpoint_id, after=told)
    services.remover.wake()


@of_runs.post("/{run_id}:prune", operation_id="prune_run", responses=_BODY_ERRORS)
def prune_run(
    run_id: UUID, body: PruneRequest, services: Parts, user: User, idempotency_key: IdempotencyKey = None
) -> PruneRead:
    """Delete the run's checkpoints that no rule keeps, or with `dry_run` only say which. What is pinned or needed stays."""

    def work(session: Session) -> PruneRead:
        require_own_run(session, user, run_id, "delete checkpoints of")
        pruned = pruning.prune_run(session, run_id, body)
        _note(session, user, "run", run_id, pruned)
        return pruned

    request = (f"POST /v1/runs/{run_id}:prune", body)
    answer = once(services, user, idempotency_key, request, work=work, answer_type=PruneRead)
    services.remover.wake()
    return answer


@of_sweeps.post("/{sweep_id}:prune", operation_id="prune_sweep", responses=_BODY_ERRORS)
def prune_sweep(
    sweep_id: UUID, body: PruneRequest, services: Parts, user: User, idempotency_key: IdempotencyKey = None
) -> PruneRead:
    """Delete the checkpoints of the sweep's runs that no rule keeps; the best are those of all its runs together."""

    def work(session: Session) -> PruneRead:
        require_own_sweep(session, user, sweep_id, "delete checkpoints of")
        pruned = pruning.prune_sweep(session, sweep_id, body)
        _note(session, user, "sweep", sweep_id, pruned)
        return pruned

    request = (f"POST /v1/sweeps/{sweep_id}:prune", body)
    answer = once(services, user, idempotency_key, request, work=work, answer_type=PruneRead)
    services.remover.wake()
    return answer


def _note(session: Session, user: Principal, kind: TargetKind, identity: UUID, pruned: PruneRead) -> None:
    if pruned.deleted and not pruned.dry_run:
        told = {"checkpoints_deleted": pruned.deleted, "bytes": pruned.deleted_bytes}
        audit.record(session, user, kind, identity, after=told)
