"""What users wish of a sweep: `POST /v1/sweeps/{id}:cancel|pause|resume|retry_failed|extend`, and `PATCH` of its runs' place.

Each answers with the sweep as it is now; the dispatcher does the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body, Response
from sqlalchemy.orm import Session

from prolu.client.wire import DecisionPatch, RetryFailedRequest, SweepExtend, SweepRead
from service.api.context import Parts, Services, User
from service.api.ownership import note_sweep, require_own_sweep
from service.api.points import check_inputs, expanded
from service.api.repetition import IdempotencyKey, once
from service.api.run_verbs import again_of, place_of
from service.api.tags import IfMatch, require_match, tag_of
from service.domain import tiers
from service.domain.access import Principal
from service.domain.expansion import Point
from service.store import audit, extension, keeping, lists, successors, wishes

router = APIRouter(prefix="/v1/sweeps", tags=["sweeps"])

_ERRORS: dict[int | str, dict[str, Any]] = {403: {}, 404: {}, 409: {}}
_BODY_ERRORS: dict[int | str, dict[str, Any]] = {**_ERRORS, 413: {}, 415: {}}


@router.post("/{sweep_id}:cancel", status_code=202, operation_id="cancel_sweep", responses=_ERRORS)
def cancel_sweep(sweep_id: UUID, services: Parts, user: User, idempotency_key: IdempotencyKey = None) -> SweepRead:
    """Wish that every run of the sweep that has not ended end. A second wish changes nothing."""
    return _wished(services, user, sweep_id, "cancel", _cancel, idempotency_key)


@router.post("/{sweep_id}:pause", status_code=202, operation_id="pause_sweep", responses=_ERRORS)
def pause_sweep(sweep_id: UUID, services: Parts, user: User, idempotency_key: IdempotencyKey = None) -> SweepRead:
    """Wish that every run of the sweep that has not ended rest until it is resumed. A second wish changes nothing."""
    return _wished(services, user, sweep_id, "pause", _pause, idempotency_key)


@router.post("/{sweep_id}:resume", status_code=202, operation_id="resume_sweep", responses=_ERRORS)
def resume_sweep(sweep_id: UUID, services: Parts, user: User, idempotency_key: IdempotencyKey = None) -> SweepRead:
    """Put every paused run of the sweep back into the queue, all or none, and take back the pauses that have not come yet."""
    return _wished(services, user, sweep_id, "resume", _resume, idempotency_key)


@router.post("/{sweep_id}:retry_failed", status_code=202, operation_id="retry_failed_of_sweep", responses=_BODY_ERRORS)
def retry_failed(
    sweep_id: UUID,
    services: Parts,
    user: User,
    body: Annotated[RetryFailedRequest, Body()] = RetryFailedRequest(),  # noqa: B008 it is frozen
    idempotency_key: IdempotencyKey = None,
) -> SweepRead:
    """Submit a run in the place of each one that failed (and, if asked, was cancelled), as retry does for one; all or none."""

    def work(session: Session) -> SweepRead:
        before = require_own_sweep(session, user, sweep_id, "retry")
        retried = successors.retry_failed(
            session,
            sweep_id,
            again_of(body),
            include_cancelled=body.include_cancelled,
            most_waiting=before.max_queued or services.settings.max_queued_per_user,
        )
        audit.record(session, user, "sweep", sweep_id, after={"retried": retried})
        return lists.sweep(session, sweep_id)

    request = (f"POST /v1/sweeps/{sweep_id}:retry_failed", body)
    return once(services, user, idempotency_key, request, work=work, answer_type=SweepRead)


@router.post("/{sweep_id}:extend", status_code=202, operation_id="extend_sweep", responses=_BODY_ERRORS)
def extend_sweep(
    sweep_id: UUID,
    body: SweepExtend,
    services: Parts,
    user: User,
    idempotency_key: IdempotencyKey = None,
) -> SweepRead:
    """Give the sweep a new description that has all its points and more, and submit those that come with it."""
    points: list[Point] = []

    def check() -> None:
        points.extend(expanded(body.spec))
        with services.database.read() as session:
            require_own_sweep(session, user, sweep_id, "extend")
            added = extension.growth_of(session, sweep_id, points).added if body.spec.search is None else []
        check_inputs(added, services)

    def work(session: Session) -> SweepRead:
        before = require_own_sweep(session, user, sweep_id, "extend")
        extension.extend_sweep(
            session,
            sweep_id,
            spec=body.spec,
            points=points,
            highest_tier=tiers.highest(is_admin=user.is_admin),
            most_waiting=before.max_queued or services.settings.max_queued_per_user,
            reuse_finished=body.reuse,
        )
        note_sweep(session, user, sweep_id, before)
        return lists.sweep(session, sweep_id)

    request = (f"POST /v1/sweeps/{sweep_id}:extend", body)
    return once(services, user, idempotency_key, request, check=check, work=work, answer_type=SweepRead)


@router.patch("/{sweep_id}", operation_id="change_sweep", responses={**_BODY_ERRORS, 412: {}})
def change_sweep(
    sweep_id: UUID, body: DecisionPatch, services: Parts, user: User, response: Response, if_match: IfMatch = None
) -> SweepRead:
    """Change the place in the queue of every run of the sweep that has not ended, and of those that it is extended by.

    And the sweep's tags, note, pin or archive, which hides its runs too; what is left out stays.
    """
    changes = place_of(body, user)
    with services.database.begin() as session:
        before = require_own_sweep(session, user, sweep_id, "change")
        row = wishes.locked_sweep(session, sweep_id)
        require_match(if_match, lists.sweep(session, sweep_id))
        if changes:
            wishes.change_sweep(session, row, **changes)
        keeping.keep_sweep(session, row, body)
        note_sweep(session, user, sweep_id, before)
        sweep = lists.sweep(session, sweep_id)
    response.headers["ETag"] = tag_of(sweep)
    return sweep


def _wished(
    services: Services,
    user: Principal,
    sweep_id: UUID,
    verb: str,
    wish: Callable[[Session, UUID, int | None], object],
    idempotency_key: str | None,
) -> SweepRead:
    """Do a wish, which hears how many runs the owner may have waiting."""

    def work(session: Session) -> SweepRead:
        before = require_own_sweep(session, user, sweep_id, verb)
        wish(session, sweep_id, before.max_queued or services.settings.max_queued_per_user)
        note_sweep(session, user, sweep_id, before)
        return lists.sweep(session, sweep_id)

    request = (f"POST /v1/sweeps/{sweep_id}:{verb}", None)
    return once(services, user, idempotency_key, request, work=work, answer_type=SweepRead)


def _cancel(session: Session, sweep_id: UUID, _: int | None) -> None:
    wishes.cancel_sweep(session, sweep_id)


def _pause(session: Session, sweep_id: UUID, _: int | None) -> None:
    wishes.pause_sweep(session, sweep_id)


def _resume(session: Session, sweep_id: UUID, most_waiting: int | None) -> None:
    wishes.resume_sweep(session, sweep_id, most_waiting=most_waiting)
