"""`/v1/results:series`: metrics of several runs over their steps, thinned for a chart."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Response

from prolu.client.wire import SeriesRead, SeriesRequest
from service.api.answers import written
from service.api.context import Parts, User
from service.api.understanding import understood
from service.domain.filters import parse
from service.store import series

router = APIRouter(prefix="/v1/results", tags=["results"])

_EXAMPLES: dict[str, Any] = {
    "chart": {
        "summary": "How l0 falls in the runs that train",
        "value": {"filter": 'state = "running"', "names": ["l0"], "split": "train", "points": 300},
    }
}


@router.post(
    ":series",
    operation_id="query_series",
    response_model=SeriesRead,
    responses={404: {}, 413: {}, 415: {}},
)
def query_series(
    services: Parts, _: User, body: Annotated[SeriesRequest, Body(openapi_examples=_EXAMPLES)]
) -> Response:
    """Metrics over steps of at most 50 runs, by id or by filter. Extremes, ends and gaps of each series stay."""
    with understood("body"):
        condition = parse(body.filter)
    with services.database.read() as session:
        return written(series.series(session, body, condition))
