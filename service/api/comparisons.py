"""`/v1/runs:compare`: a few runs side by side."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Response

from prolu.client.wire import CompareRequest, ComparisonRead
from prolu.spec import Mistake
from service.api.answers import written
from service.api.context import Parts, User
from service.domain.errors import Invalid
from service.store import comparisons

router = APIRouter(prefix="/v1/runs", tags=["runs"])


@router.post(
    ":compare",
    operation_id="compare_runs",
    response_model=ComparisonRead,
    responses={404: {}, 413: {}, 415: {}},
)
def compare_runs(services: Parts, _: User, body: Annotated[CompareRequest, Body()]) -> Response:
    """Where the specs of two to ten runs differ, their final metrics with differences from the first, and their biases."""
    if len({*body.run_ids}) < len(body.run_ids):
        sentence = "run_ids names a run twice; name each once."
        raise Invalid(sentence, [Mistake(("run_ids",), sentence)])
    with services.database.read() as session:
        return written(comparisons.compare(session, body.run_ids, bins=body.bins))
