"""`/v1/sweeps`: submit, preview, list, look, and the table of results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Query
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
from prolu.spec import Mistake, SpecError
from service.api import examples
from service.api.context import Parts, Services, User
from service.api.lists import Cursor, Limit
from service.api.problems import invalid, problem_items
from service.api.repetition import IdempotencyKey, once
from service.domain.expansion import Location, Point, expand
from service.domain.memory import check_memory
from service.store import inputs, lists, nodes, queue, sweep_tables

router = APIRouter(prefix="/v1/sweeps", tags=["sweeps"])

# A preview explains so many refusals; each may have taken a look-up.
_MOST_REFUSALS = 50


@router.post("", status_code=201, operation_id="submit_sweep", responses={409: {}, 413: {}, 415: {}, 503: {}})
def submit_sweep(
    body: Annotated[SweepCreate, Body(openapi_examples=examples.SWEEPS)],
    services: Parts,
    user: User,
    idempotency_key: IdempotencyKey = None,
) -> SweepRead:
    """Put every run of a sweep into the queue, or none. What the runs name is looked up first."""
    points: list[Point] = []

    def check() -> None:
        points.extend(_expanded(body))
        _check_inputs(points, services)

    def work(session: Session) -> SweepRead:
        row = queue.submit_sweep(session, owner_id=user.user_id, spec=body.spec, points=points, priority=body.priority)
        return lists.sweep(session, row.id)

    return once(
        services, user, idempotency_key, ("POST /v1/sweeps", body), check=check, work=work, answer_type=SweepRead
    )


@router.post(":preview", operation_id="preview_sweep", responses={413: {}, 415: {}, 503: {}})
def preview_sweep(
    body: Annotated[SweepCreate, Body(openapi_examples=examples.SWEEPS)], services: Parts, _: User
) -> SweepPreview:
    """Say what a sweep would put into the queue, or why it would be refused here and now, and write nothing."""
    points = _expanded(body)
    shown = [
        PointRead(point=point.index, name=point.name, variant=point.variant, set=dict(point.set), digest=point.digest)
        for point in points
    ]
    return SweepPreview(count=len(shown), points=shown, refusals=problem_items(_all_refusals(points, services)))


@router.get("", operation_id="list_sweeps")
def list_sweeps(services: Parts, _: User, limit: Limit = 100, cursor: Cursor = None) -> Page[SweepRead]:
    """Sweeps, the newest first, and how many of their runs are in which state."""
    with services.database.read() as session:
        return lists.sweeps(session, limit=limit, cursor=cursor)


@router.get("/{sweep_id}", operation_id="get_sweep", responses={404: {}})
def get_sweep(sweep_id: UUID, services: Parts, _: User) -> SweepRead:
    """One sweep, and how many of its runs are in which state."""
    with services.database.read() as session:
        return lists.sweep(session, sweep_id)


@router.get("/{sweep_id}/runs", operation_id="list_sweep_runs", responses={404: {}})
def list_sweep_runs(
    sweep_id: UUID, services: Parts, _: User, limit: Limit = 100, cursor: Cursor = None
) -> Page[RunSummary]:
    """The runs of a sweep, by point."""
    with services.database.read() as session:
        return lists.sweep_runs(session, sweep_id, limit=limit, cursor=cursor)


@router.get("/{sweep_id}/results", operation_id="list_sweep_results", responses={404: {}})
def list_sweep_results(
    sweep_id: UUID, services: Parts, _: User, limit: Limit = 100, cursor: Cursor = None
) -> Page[ResultRow]:
    """One row per run, by point: what was set, the final metrics, the last bias statistics in brief."""
    with services.database.read() as session:
        return sweep_tables.results(session, sweep_id, limit=limit, cursor=cursor)


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


def _expanded(body: SweepCreate) -> list[Point]:
    try:
        return expand(body.spec)
    except SpecError as error:
        raise invalid(error.mistakes, "spec") from None


def _check_inputs(points: Sequence[Point], services: Services) -> None:
    """Raise Invalid for what is wrong with the first point that would be refused."""
    for point, mistakes in _refused(points, services):
        raise invalid([_placed(point, mistake) for mistake in mistakes], "spec")


def _all_refusals(points: Sequence[Point], services: Services) -> list[Mistake]:
    """Say what is wrong with the points, in words of the first that it is wrong with: the first of it, if it is much."""
    found: dict[tuple[Location, str], Mistake] = {}
    for point, mistakes in _refused(points, services):
        for mistake in mistakes:
            placed = _placed(point, mistake)
            found.setdefault((placed.location, mistake.sentence), placed)
        if len(found) >= _MOST_REFUSALS:
            break
    return [Mistake(("spec", *mistake.location), mistake.sentence) for mistake in found.values()][:_MOST_REFUSALS]


def _refused(points: Sequence[Point], services: Services) -> Iterator[tuple[Point, list[Mistake]]]:
    """Look up what the points name, each different thing once, and yield those with something wrong."""
    with services.database.read() as session:
        offers = nodes.believed_nodes(session)
    surroundings = services.surroundings.for_one_request()
    for point in points:
        if mistakes := check_memory(point.spec):
            yield point, mistakes
    seen = set()
    for point in points:
        asks = (point.spec.data_digest(), point.spec.resources.model_dump_json())
        if asks in seen:
            continue
        seen.add(asks)
        if mistakes := inputs.check(point.spec, surroundings, offers):
            yield point, mistakes


def _placed(point: Point, mistake: Mistake) -> Mistake:
    """Name the point, and the place where the sweep wrote what is wrong with it."""
    return Mistake(point.locate(mistake.location), f"{point}: {mistake.sentence}")
