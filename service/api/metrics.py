"""`/metrics`, for Prometheus."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Response
from prometheus_client.exposition import choose_encoder

from service.api.context import Parts, may_scrape

router = APIRouter(tags=["service"])


@router.get(
    "/metrics",
    operation_id="get_metrics",
    response_class=Response,
    dependencies=[Depends(may_scrape)],
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, 503: {}},
)
def get_metrics(
    services: Parts, accept: Annotated[str, Header(description="Prometheus says which of its formats it reads.")] = ""
) -> Response:
    """The metrics of the service for Prometheus. Needs a token, unless PROLU_METRICS_OPEN says otherwise."""
    encode, media_type = choose_encoder(accept)
    return Response(encode(services.metrics.registry), headers={"Content-Type": media_type})
