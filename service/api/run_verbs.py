"""What users wish of a run: `POST /v1/runs/{id}:cancel|pause|resume|retry|clone`, and `PATCH` of its place in the queue.

Each answers with the run as it is now; the dispatcher does the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body, Response
from sqlalchemy.orm import Session

from prolu.client.wire import CloneRequest, DecisionPatch, PlacePatch, RetryFailedRequest, RetryRequest, RunRead
from prolu.spec import Mistake, RunSpec, SpecError
from service.api.context import Parts, Services, User
from service.api.ownership import note_run, require_own_run
from service.api.problems import invalid
from service.api.repetition import IdempotencyKey, once
from service.api.tags import IfMatch, require_match, tag_of
from service.domain import tiers
from service.domain.access import Principal
from service.domain.expansion import change, place_of_change
from service.domain.memory import check_memory
from service.store import audit, inputs, keeping, lists, nodes, queue, successors, wishes
from service.store.submission import require_room
from service.store.successors import Again

router = APIRouter(prefix="/v1/runs", tags=["runs"])

_ERRORS: dict[int | str, dict[str, Any]] = {403: {}, 404: {}, 409: {}}
_BODY_ERRORS: dict[int | str, dict[str, Any]] = {**_ERRORS, 413: {}, 415: {}}


@router.post("/{run_id}:cancel", status_code=202, operation_id="cancel_run", responses=_ERRORS)
def cancel_run(run_id: UUID, services: Parts, user: User, idempotency_key: IdempotencyKey = None) -> RunRead:
    """Wish that the run end. A live run writes a last checkpoint first; a second wish changes nothing."""
    return _wished(services, user, run_id, "cancel", _cancel, idempotency_key)


@router.post("/{run_id}:pause", status_code=202, operation_id="pause_run", responses=_ERRORS)
def pause_run(run_id: UUID, services: Parts, user: User, idempotency_key: IdempotencyKey = None) -> RunRead:
    """Wish that the run rest until it is resumed. A live run writes a checkpoint first; a second wish changes nothing."""
    return _wished(services, user, run_id, "pause", _pause, idempotency_key)


@router.post("/{run_id}:resume", status_code=202, operation_id="resume_run", responses=_ERRORS)
def resume_run(run_id: UUID, services: Parts, user: User, idempotency_key: IdempotencyKey = None) -> RunRead:
    """Put a paused run back into the queue, where its wait begins anew, or take back a pause that has not come yet."""
    return _wished(services, user, run_id, "resume", _resume, idempotency_key)


@router.post("/{run_id}:retry", status_code=202, operation_id="retry_run", responses=_BODY_ERRORS)
def retry_run(
    run_id: UUID,
    services: Parts,
    user: User,
    body: Annotated[RetryRequest, Body()] = RetryRequest(),  # noqa: B008 it is frozen
    idempotency_key: IdempotencyKey = None,
) -> RunRead:
    """Submit a run that takes the place of one that failed or was cancelled, and answer with it.

    It goes on from the old run's furthest checkpoint, but after a loss that became NaN, and may be given other time limits.
    A run that waits for its next attempt waits no longer.
    """

    def work(session: Session) -> RunRead:
        before = require_own_run(session, user, run_id, "retry")
        most_waiting = before.max_queued or services.settings.max_queued_per_user
        new_id = successors.retry(session, run_id, again_of(body), most_waiting=most_waiting)
        audit.record(session, user, "run", run_id, after={"retried_as": str(new_id)})
        return lists.run(session, new_id)

    request = (f"POST /v1/runs/{run_id}:retry", body)
    return once(services, user, idempotency_key, request, work=work, answer_type=RunRead)


@router.post("/{run_id}:clone", status_code=202, operation_id="clone_run", responses=_BODY_ERRORS)
def clone_run(
    run_id: UUID,
    services: Parts,
    user: User,
    body: Annotated[CloneRequest, Body()] = CloneRequest(),  # noqa: B008 it is frozen
    idempotency_key: IdempotencyKey = None,
) -> RunRead:
    """Submit a run of your own like another, whoever's that is, with some settings changed. It joins no sweep."""
    if body.tier is not None:
        tiers.allowed(body.tier, is_admin=user.is_admin)
    found: list[tuple[RunRead, RunSpec]] = []

    def check() -> None:
        with services.database.read() as session:
            other = lists.run(session, run_id)
        found.append((other, _changed(services, other, body)))

    def work(session: Session) -> RunRead:
        ((other, spec),) = found
        tier = body.tier or ("normal" if other.tier == "high" and not user.is_admin else other.tier)
        require_room(session, user.user_id, 1, most=user.max_queued or services.settings.max_queued_per_user)
        row = queue.submit_run(
            session,
            owner_id=user.user_id,
            spec=spec,
            tier=tiers.LEVELS[tier],
            priority=other.priority if body.priority is None else body.priority,
            preemptible=other.preemptible if body.preemptible is None else body.preemptible,
            cloned_from=run_id,
        )
        told = {"name": spec.name, "digest": row.columns["digest"], "cloned_from": str(run_id)}
        audit.record(session, user, "run", row.id, after=told)
        return lists.run(session, row.id)

    request = (f"POST /v1/runs/{run_id}:clone", body)
    return once(services, user, idempotency_key, request, check=check, work=work, answer_type=RunRead)


@router.patch("/{run_id}", operation_id="change_run", responses={**_BODY_ERRORS, 412: {}})
def change_run(
    run_id: UUID, body: DecisionPatch, services: Parts, user: User, response: Response, if_match: IfMatch = None
) -> RunRead:
    """Change the run's place in the queue, unless it has ended, and its tags, note, pin or archive; what is left out stays."""
    changes = place_of(body, user)
    with services.database.begin() as session:
        before = require_own_run(session, user, run_id, "change")
        row = wishes.locked(session, run_id)
        require_match(if_match, lists.run(session, run_id))
        if changes:
            wishes.change_place(session, row, **changes)
        keeping.keep_run(session, row, body)
        note_run(session, user, run_id, before)
        run = lists.run(session, run_id)
    response.headers["ETag"] = tag_of(run)
    return run


def place_of(body: PlacePatch, user: Principal) -> dict[str, Any]:
    """Give the columns of its place that a body changes. Raises Forbidden for a tier that the user may not ask for."""
    changes = body.model_dump(include={*PlacePatch.model_fields}, exclude_none=True)
    if body.tier is not None:
        changes["tier"] = tiers.allowed(body.tier, is_admin=user.is_admin)
    return changes


def again_of(body: RetryRequest | RetryFailedRequest) -> Again:
    """Give how a body wants runs to be tried again."""
    limits = {} if body.limits is None else body.limits.model_dump(exclude_none=True)
    return Again(from_scratch=body.from_scratch, limits=limits)


def _wished(
    services: Services,
    user: Principal,
    run_id: UUID,
    verb: str,
    wish: Callable[[Session, UUID, int | None], object],
    idempotency_key: str | None,
) -> RunRead:
    """Do a wish, which hears how many runs the owner may have waiting."""

    def work(session: Session) -> RunRead:
        before = require_own_run(session, user, run_id, verb)
        wish(session, run_id, before.max_queued or services.settings.max_queued_per_user)
        note_run(session, user, run_id, before)
        return lists.run(session, run_id)

    request = (f"POST /v1/runs/{run_id}:{verb}", None)
    return once(services, user, idempotency_key, request, work=work, answer_type=RunRead)


def _cancel(session: Session, run_id: UUID, _: int | None) -> object:
    return wishes.request_cancel(session, run_id)


def _pause(session: Session, run_id: UUID, _: int | None) -> object:
    return wishes.request_pause(session, run_id)


def _resume(session: Session, run_id: UUID, most_waiting: int | None) -> object:
    return wishes.request_resume(session, run_id, most_waiting=most_waiting)


def _changed(services: Services, other: RunRead, body: CloneRequest) -> RunSpec:
    """Build the clone's spec and look up what it names. Raises Invalid, which points into the body's `set`."""
    name = other.name if body.name is None else body.name
    try:
        spec = change(other.spec.model_dump(mode="json"), body.set, name=name)
    except SpecError as error:
        raise invalid(error.mistakes) from None
    offers = nodes.believed_nodes(services.database)
    mistakes = check_memory(spec) + inputs.check(spec, services.surroundings, offers)
    if mistakes:
        raise invalid([Mistake(place_of_change(body.set, found.location), found.sentence) for found in mistakes])
    return spec
