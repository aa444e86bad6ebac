"""Bias statistics against any field: of a sweep, `/v1/sweeps/{id}/biases`, and of any runs, `/v1/results:biases`."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Body, Query, Response

from prolu.client.wire import BiasCurvesRead, BiasesRequest
from service.api.answers import written
from service.api.context import Parts, User
from service.api.understanding import understood
from service.domain.asking import biases_question
from service.store import bias_curves

router = APIRouter(prefix="/v1")

_EXAMPLES: dict[str, Any] = {
    "coefficient": {"summary": "Against the coefficient of the penalty, by family", "value": {}},
    "width": {
        "summary": "Numbers alone, against the width",
        "value": {
            "filter": 'spec.sae.kind = "prolu"',
            "x": "spec.sae.d_sae",
            "by": "spec.sae.estimator.kind",
            "bins": 0,
        },
    },
}


@router.post(
    "/results:biases",
    tags=["results"],
    operation_id="query_biases",
    response_model=BiasCurvesRead,
    responses={413: {}, 415: {}},
)
def query_biases(
    services: Parts, _: User, body: Annotated[BiasesRequest, Body(openapi_examples=_EXAMPLES)]
) -> Response:
    """The last biases of the runs that a filter finds, against a field: at most 2,000 runs, or 50,000 without histograms."""
    with understood("body"):
        asked = biases_question(body)
    with services.database.read() as session:
        return written(bias_curves.biases(session, asked))


@router.get(
    "/sweeps/{sweep_id}/biases",
    tags=["sweeps"],
    operation_id="get_sweep_biases",
    response_model=BiasCurvesRead,
    responses={404: {}},
)
def get_sweep_biases(
    sweep_id: UUID,
    services: Parts,
    _: User,
    x: Annotated[
        str, Query(min_length=1, max_length=200, description="Path of what the biases are told against.")
    ] = "spec.sparsity.coefficient",
    by: Annotated[
        str, Query(min_length=1, max_length=200, description="What each curve is of: `family`, a path, or `none`.")
    ] = "family",
    latents: Annotated[Literal["all", "alive", "dead"], Query(description="Which latents.")] = "all",
    bins: Annotated[int, Query(ge=0, le=200, description="Bins of the histograms; 0 leaves them out.")] = 24,
    filter: Annotated[str, Query(max_length=4000, description="Only runs of the sweep that this filter finds.")] = "",
) -> Response:
    """The last biases of a sweep's runs against a field: numbers with their spread over seeds, histograms on common bins."""
    with understood("query"):
        asked = biases_question(BiasesRequest(filter=filter, x=x, by=by, latents=latents, bins=bins))
    with services.database.read() as session:
        return written(bias_curves.biases(session, asked, sweep_id=sweep_id))
