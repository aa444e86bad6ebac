"""`/v1/runs`: submit, list, look, and read what a run reports; its verbs are in `service.api.run_verbs`."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Body, Query, Response
from sqlalchemy.orm import Session

from prolu.client.wire import (
    AttemptRead,
    BiasSnapshotRead,
    CheckpointRead,
    DiagnosticsRead,
    EventRead,
    MetricRead,
    Page,
    RunCreate,
    RunRead,
    RunState,
    RunSummary,
)
from prolu.client.wire.comparing import MetricName
from service.api import examples
from service.api.answers import written
from service.api.asking import Filter, LongCursor, OrderBy, question_of
from service.api.context import Parts, User
from service.api.lists import Archived, Cursor, IdPart, Limit
from service.api.problems import invalid
from service.api.repetition import IdempotencyKey, once
from service.api.tags import tag_of
from service.domain import tiers
from service.domain.memory import check_memory
from service.store import asked, audit, inputs, lists, queue, results, reuse, series
from service.store.submission import require_room

router = APIRouter(prefix="/v1/runs", tags=["runs"])


@router.post(
    "",
    status_code=201,
    response_model=RunRead,
    operation_id="submit_run",
    responses={403: {}, 409: {}, 413: {}, 415: {}, 503: {}},
)
def submit_run(
    body: Annotated[RunCreate, Body(openapi_examples=examples.RUNS)],
    services: Parts,
    user: User,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Put a run into the queue. What its spec names (files, models, corpora, resources) is looked up first."""
    tier = tiers.allowed(body.tier, is_admin=user.is_admin)

    def check() -> None:
        mistakes = check_memory(body.spec) + services.offers.mistakes(
            lambda offers: inputs.check(body.spec, services.surroundings, offers)
        )
        if mistakes:
            raise invalid(mistakes, "spec")

    def work(session: Session) -> RunRead:
        reused = reuse.of(session, body.spec, owner_id=user.user_id) if body.reuse else None
        require_room(
            session, user.user_id, int(reused is None), most=user.max_queued or services.settings.max_queued_per_user
        )
        row = queue.submit_run(
            session,
            owner_id=user.user_id,
            spec=body.spec,
            tier=tier,
            priority=body.priority,
            preemptible=body.preemptible,
            reused=reused,
        )
        told = {"name": body.spec.name, "digest": row.columns["digest"], "tier": body.tier, "priority": body.priority}
        audit.record(session, user, "run", row.id, after=told)
        return lists.submitted(row.columns, body.spec, owner=user.name)

    request = ("POST /v1/runs", body)
    answer = once(services, user, idempotency_key, request, check=check, work=work, answer_type=RunRead)
    return written(answer, status=201, location=f"/v1/runs/{answer.id}")


@router.get("", response_model=Page[RunSummary], operation_id="list_runs")
def list_runs(
    services: Parts,
    _: User,
    state: Annotated[list[RunState], Query(description="Only runs in one of these states.")] = [],  # noqa: B006 FastAPI copies it
    owner: Annotated[str | None, Query(max_length=100, description="Only runs that this user submitted.")] = None,
    sweep_id: Annotated[UUID | None, Query(description="Only runs of this sweep.")] = None,
    id_part: IdPart = None,
    archived: Archived = False,
    filter_: Filter = "",
    order_by: OrderBy = "",
    limit: Limit = 100,
    cursor: LongCursor = None,
) -> Response:
    """Runs without their specs, the newest first unless `order_by` says otherwise."""
    only: dict[str, Any] = {"states": state, "owner": owner, "sweep_id": sweep_id, "id_part": id_part}
    only["archived"] = archived
    question = question_of(filter_, order_by) if filter_.strip() or order_by.strip() else None
    with services.database.read() as session:
        if question is None:
            page = lists.runs(session, **only, limit=limit, cursor=cursor)
        else:
            page = asked.runs(session, question, **only, limit=limit, cursor=cursor)
    return written(page)


@router.get("/{run_id}", operation_id="get_run", responses={404: {}})
def get_run(run_id: UUID, services: Parts, _: User, response: Response) -> RunRead:
    """One run with its spec, defaults filled in; its ETag changes with its place in the queue, its state and its wish."""
    with services.database.read() as session:
        run = lists.run(session, run_id)
    response.headers["ETag"] = tag_of(run)
    return run


@router.get("/{run_id}/attempts", operation_id="list_attempts", responses={404: {}})
def list_attempts(
    run_id: UUID, services: Parts, _: User, limit: Limit = 100, cursor: Cursor = None
) -> Page[AttemptRead]:
    """Every try at the run, the first one first: where it ran, how it ended, and why."""
    with services.database.read() as session:
        return results.attempts(session, run_id, limit=limit, cursor=cursor)


@router.get("/{run_id}/events", operation_id="list_events", responses={404: {}})
def list_events(run_id: UUID, services: Parts, _: User, limit: Limit = 100, cursor: Cursor = None) -> Page[EventRead]:
    """Everything that happened to the run, in order."""
    with services.database.read() as session:
        return results.events(session, run_id, limit=limit, cursor=cursor)


@router.get("/{run_id}/metrics", operation_id="list_metrics", responses={404: {}})
def list_metrics(
    run_id: UUID,
    services: Parts,
    _: User,
    split: Annotated[
        Literal["train", "held_out"] | None, Query(description="Only training batches, or only evaluations.")
    ] = None,
    names: Annotated[
        list[MetricName], Query(max_length=20, description="Only these metrics; `names=l0&names=fvu` for two.")
    ] = [],  # noqa: B006 FastAPI copies it
    from_step: Annotated[int | None, Query(ge=0, lt=2**63, description="Not before this step.")] = None,
    to_step: Annotated[int | None, Query(ge=0, lt=2**63, description="Not after this step.")] = None,
    points: Annotated[
        int | None,
        Query(
            ge=5,
            le=5000,
            description="All on one page, in at most so many points of each metric; extremes and ends stay.",
        ),
    ] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[MetricRead]:
    """The metric series, by step: page by page, or with `points` all in few. A metric that was not finite is not there."""
    bounds = series.within(split, from_step, to_step)
    with services.database.read() as session:
        return results.metrics(session, run_id, bounds=bounds, names=names, points=points, limit=limit, cursor=cursor)


@router.get("/{run_id}/bias_statistics", operation_id="list_bias_statistics", responses={404: {}})
def list_bias_statistics(
    run_id: UUID,
    services: Parts,
    _: User,
    order: Annotated[
        Literal["asc", "desc"], Query(description="By step, rising or falling; `desc` with `limit=1` is the last.")
    ] = "asc",
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[BiasSnapshotRead]:
    """The statistics of the encoder biases all through training, by step: fractions, moments, quantiles, histograms."""
    with services.database.read() as session:
        return results.bias_statistics(session, run_id, newest_first=order == "desc", limit=limit, cursor=cursor)


@router.get("/{run_id}/diagnostics", operation_id="list_diagnostics", responses={404: {}})
def list_diagnostics(
    run_id: UUID, services: Parts, _: User, limit: Limit = 100, cursor: Cursor = None
) -> Page[DiagnosticsRead]:
    """What was measured of the run beyond its metrics, by step: where each gradient estimator's update points."""
    with services.database.read() as session:
        return results.diagnostics(session, run_id, limit=limit, cursor=cursor)


@router.get("/{run_id}/checkpoints", operation_id="list_checkpoints", responses={404: {}})
def list_checkpoints(
    run_id: UUID, services: Parts, _: User, limit: Limit = 100, cursor: Cursor = None
) -> Page[CheckpointRead]:
    """The checkpoints, by step, of all attempts."""
    with services.database.read() as session:
        return results.checkpoints(session, run_id, limit=limit, cursor=cursor)
