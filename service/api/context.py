"""What routes get: the parts that the app was composed of, and the user who asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from service.api.counting import Metrics
from service.api.streams import Streams
from service.domain.errors import Unauthenticated
from service.settings import Settings
from service.store.artifacts import Artifacts
from service.store.db import Database
from service.store.events import Settled
from service.store.planned import Planned
from service.store.surroundings import Surroundings
from service.store.users import Gate, Principal


@dataclass(frozen=True)
class Services:
    """The parts of one service; made in `service.app`."""

    settings: Settings
    database: Database
    artifacts: Artifacts
    surroundings: Surroundings
    planned: Planned
    gate: Gate
    streams: Streams
    settled: Settled
    metrics: Metrics


async def services_of(request: Request) -> Services:
    """The parts of the app that answers the request; async, since FastAPI would hand it to another thread otherwise."""
    services: Services = request.app.state.services
    return services


Parts = Annotated[Services, Depends(services_of)]

_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="bearer",
    description="The token in `PROLU_TOKEN`, or in the token file of the service on the same machine.",
)


async def authenticated(
    services: Parts, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Principal:
    """The user whose token the request carries. Raises Unauthenticated."""
    if credentials is None:
        raise Unauthenticated(
            "The request carries no bearer token; send `Authorization: Bearer TOKEN`, with the token of the service's token file."
        )
    token = credentials.credentials
    principal = services.gate.known(token) or await run_in_threadpool(services.gate.ask, token)
    if principal is None:
        raise Unauthenticated("The bearer token is unknown or revoked; take the one of the service's token file.")
    return principal


User = Annotated[Principal, Depends(authenticated)]


async def may_scrape(
    services: Parts, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> None:
    """Let a user pass, or anybody where the operator has opened the metrics. Raises Unauthenticated."""
    if not services.settings.metrics_open:
        await authenticated(services, credentials)
