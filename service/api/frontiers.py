"""The Pareto frontiers of a sweep, `/v1/sweeps/{id}/frontier`, and of any runs, `/v1/results:frontier`."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Query, Response

from prolu.client.wire import FrontierRead, FrontierRequest, Seeds
from prolu.spec.pareto import Goal
from service.api.answers import written
from service.api.context import Parts, User
from service.api.understanding import understood
from service.domain.asking import frontier_question
from service.store import frontiers

router = APIRouter(prefix="/v1")

_EXAMPLES = {
    "families": {
        "summary": "L0 against the CE loss score, by family, over seeds",
        "value": {"filter": 'spec.data.kind = "language_model"', "y": "metrics.ce_loss_score", "seeds": "mean"},
    },
    "biases": {
        "summary": "Any two numbers",
        "value": {"x": "bias.fraction_negative", "x_goal": "higher", "by": "spec.sparsity.kind", "dominated": True},
    },
}


@router.post(
    "/results:frontier",
    tags=["results"],
    operation_id="query_frontier",
    response_model=FrontierRead,
    responses={413: {}, 415: {}},
)
def query_frontier(
    services: Parts, _: User, body: Annotated[FrontierRequest, Body(openapi_examples=_EXAMPLES)]
) -> Response:
    """The Pareto frontier of each family of the runs that a filter finds, over two numbers. Reads at most 50,000 runs."""
    with understood("body"):
        asked = frontier_question(body)
    with services.database.read() as session:
        return written(frontiers.frontier(session, asked))


@router.get(
    "/sweeps/{sweep_id}/frontier",
    tags=["sweeps"],
    operation_id="get_sweep_frontier",
    response_model=FrontierRead,
    responses={404: {}},
)
def get_sweep_frontier(
    sweep_id: UUID,
    services: Parts,
    _: User,
    x: Annotated[str, Query(min_length=1, max_length=200, description="Path of one number.")] = "metrics.l0",
    y: Annotated[str, Query(min_length=1, max_length=200, description="Path of the other.")] = "metrics.fvu",
    x_goal: Annotated[Goal | None, Query(description="Which way x is better, where that is not known of it.")] = None,
    y_goal: Annotated[Goal | None, Query(description="The same for y.")] = None,
    by: Annotated[
        str,
        Query(
            min_length=1,
            max_length=200,
            description="What each frontier is of: `family`, the value of a path, or `none`.",
        ),
    ] = "family",
    seeds: Annotated[Seeds, Query(description="A point for each run, or for the mean over seeds.")] = "each",
    dominated: Annotated[bool, Query(description="Whether points that others better come along.")] = False,
    filter: Annotated[str, Query(max_length=4000, description="Only runs of the sweep that this filter finds.")] = "",
) -> Response:
    """The Pareto frontier of each family of a sweep's runs, over two numbers; a run that was tried again counts once."""
    with understood("query"):
        asked = frontier_question(
            FrontierRequest(
                filter=filter, x=x, y=y, x_goal=x_goal, y_goal=y_goal, by=by, seeds=seeds, dominated=dominated
            )
        )
    with services.database.read() as session:
        return written(frontiers.frontier(session, asked, sweep_id=sweep_id))
