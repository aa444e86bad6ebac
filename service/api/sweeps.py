"""`/v1/sweeps`: submit, preview, list, look, and the table of results; its verbs are in `service.api.sweep_verbs`."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Query, Response
from sqlalchemy.orm import Session

from prolu.client.wire import (
    Page,
    PointRead,
    ResultRow,
    RunSummary,
    SeedGroupRead,
    SweepBiasRead,
    SweepCreate,
    SweepPreview,
    SweepRead,
)
from service.api import examples
from service.api.asking import Filter, LongCursor, OrderBy, question_of
from service.api.context import Parts, User
from service.api.lists import Archived, Cursor, IdPart, Limit
from service.api.points import all_refusals, asked_first, check_inputs, expanded, probed
from service.api.problems import problem_items
from service.api.repetition import IdempotencyKey, once
from service.api.tags import tag_of
from service.domain import tiers
from service.domain.expansion import Point
from service.store import asked, audit, lists, queue, reuse, sweep_tables
from service.store.submission import require_room

router = APIRouter(prefix="/v1/sweeps", tags=["sweeps"])


@router.post("", status_code=201, operation_id="submit_sweep", responses={403: {}, 409: {}, 413: {}, 415: {}, 503: {}})
def submit_sweep(
    body: Annotated[SweepCreate, Body(openapi_examples=examples.SWEEPS)],
    services: Parts,
    user: User,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> SweepRead:
    """Put every run of a sweep into the queue, or none. What the runs name is looked up first."""
    points: list[Point] = []
    tier = tiers.allowed(body.tier, is_admin=user.is_admin)

    def check() -> None:
        points.extend(expanded(body.spec))
        check_inputs(points or probed(body.spec), services)

    def work(session: Session) -> SweepRead:
        digests = [point.digest for point in points]
        finished = (
            reuse.held(session, digests, owner_id=user.user_id) if body.reuse else reuse.finished(session, digests)
        )
        reusable = sum(point.digest in finished for point in points)
        adding = len(points) - (reusable if body.reuse else 0)
        require_room(session, user.user_id, adding, most=user.max_queued or services.settings.max_queued_per_user)
        row = queue.submit_sweep(
            session,
            owner_id=user.user_id,
            spec=body.spec,
            points=points,
            tier=tier,
            priority=body.priority,
            preemptible=body.preemptible,
            reused=finished if body.reuse else {},
            reuse_later=body.reuse,
        )
        told = {"name": row.name, "runs": row.count, "tier": body.tier, "priority": body.priority}
        audit.record(session, user, "sweep", row.id, after=told)
        submitted = lists.sweep(session, row.id)
        return submitted if body.reuse else submitted.model_copy(update={"reusable": reusable})

    request = ("POST /v1/sweeps", body)
    answer = once(services, user, idempotency_key, request, check=check, work=work, answer_type=SweepRead)
    response.headers["Location"] = f"/v1/sweeps/{answer.id}"
    return answer


@router.post(":preview", operation_id="preview_sweep", responses={413: {}, 415: {}, 503: {}})
def preview_sweep(
    body: Annotated[SweepCreate, Body(openapi_examples=examples.SWEEPS)], services: Parts, _: User
) -> SweepPreview:
    """Say what a sweep would put into the queue, or why it would be refused here and now, and write nothing."""
    search = body.spec.search
    points = expanded(body.spec) or asked_first(body.spec)
    with services.database.read() as session:
        finished = reuse.finished(session, [point.digest for point in points])
    shown = [
        PointRead(
            point=point.index,
            name=point.name,
            variant=point.variant,
            set=dict(point.set),
            digest=point.digest,
            reusable=finished[point.digest].run_id if point.digest in finished else None,
        )
        for point in points
    ]
    return SweepPreview(
        count=len(shown) if search is None else search.trials,
        points=shown,
        reusable=sum(point.reusable is not None for point in shown),
        refusals=problem_items(all_refusals(points if search is None else probed(body.spec), services)),
    )


@router.get("", operation_id="list_sweeps")
def list_sweeps(
    services: Parts,
    _: User,
    id_part: IdPart = None,
    archived: Archived = False,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[SweepRead]:
    """Sweeps, the newest first, and how many of their runs are in which state."""
    with services.database.read() as session:
        return lists.sweeps(session, id_part=id_part, archived=archived, limit=limit, cursor=cursor)


@router.get("/{sweep_id}", operation_id="get_sweep", responses={404: {}})
def get_sweep(sweep_id: UUID, services: Parts, _: User, response: Response) -> SweepRead:
    """One sweep, and how many of its runs are in which state; its ETag changes with its place in the queue and its size."""
    with services.database.read() as session:
        sweep = lists.sweep(session, sweep_id)
    response.headers["ETag"] = tag_of(sweep)
    return sweep


@router.get("/{sweep_id}/runs", operation_id="list_sweep_runs", responses={404: {}})
def list_sweep_runs(
    sweep_id: UUID, services: Parts, _: User, limit: Limit = 100, cursor: Cursor = None
) -> Page[RunSummary]:
    """The runs of a sweep, by point."""
    with services.database.read() as session:
        return lists.sweep_runs(session, sweep_id, limit=limit, cursor=cursor)


@router.get("/{sweep_id}/results", operation_id="list_sweep_results", responses={404: {}})
def list_sweep_results(
    sweep_id: UUID,
    services: Parts,
    _: User,
    filter_: Filter = "",
    order_by: OrderBy = "",
    limit: Limit = 100,
    cursor: LongCursor = None,
) -> Page[ResultRow]:
    """One row per run, by point unless `order_by` says otherwise: settings, final metrics, last bias statistics in brief."""
    question = question_of(filter_, order_by) if filter_.strip() or order_by.strip() else None
    with services.database.read() as session:
        if question is None:
            return sweep_tables.results(session, sweep_id, limit=limit, cursor=cursor)
        return asked.results(session, sweep_id, question, limit=limit, cursor=cursor)


@router.get("/{sweep_id}/results_over_seeds", operation_id="list_sweep_results_over_seeds", responses={404: {}})
def list_sweep_results_over_seeds(
    sweep_id: UUID,
    services: Parts,
    _: User,
    against: Annotated[
        str | None,
        Query(description="A variant, from whose points at equal settings the others' differences are told."),
    ] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[SeedGroupRead]:
    """One row per group of runs that differ in `training.seed` alone: mean, error and interval of each number."""
    with services.database.read() as session:
        return sweep_tables.results_over_seeds(session, sweep_id, against=against, limit=limit, cursor=cursor)


@router.get("/{sweep_id}/bias_statistics", operation_id="list_sweep_bias_statistics", responses={404: {}})
def list_sweep_bias_statistics(
    sweep_id: UUID,
    services: Parts,
    _: User,
    histograms: Annotated[
        bool, Query(description="Whether histograms come along; without them the answer is far shorter.")
    ] = True,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[SweepBiasRead]:
    """The last bias statistics of every run that has any, by point: one query for how biases depend on the sparsity."""
    with services.database.read() as session:
        return sweep_tables.bias_statistics(session, sweep_id, histograms=histograms, limit=limit, cursor=cursor)
