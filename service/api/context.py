"""What routes get: the parts that the app was composed of, and the user who asks, who may ask this."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import Annotated

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from service.api.counting import Metrics
from service.api.following import Streams
from service.domain.access import Principal, need_of, require
from service.domain.errors import TooManyRequests, Unauthenticated
from service.domain.throttle import Throttle
from service.settings import Settings
from service.store.artifacts import Artifacts
from service.store.db import Database
from service.store.deletion import Remover
from service.store.events import Settled
from service.store.gate import Gate
from service.store.offers import Offers
from service.store.planned import Planned
from service.store.surroundings import Surroundings
from service.store.tokens import looks_like_a_token


@dataclass(frozen=True)
class Services:
    """The parts of one service; made in `service.app`."""

    settings: Settings
    database: Database
    artifacts: Artifacts
    remover: Remover
    surroundings: Surroundings
    offers: Offers
    planned: Planned
    gate: Gate
    throttle: Throttle | None
    streams: Streams
    settled: Settled
    metrics: Metrics


async def services_of(request: Request) -> Services:
    """The parts of the app that answers the request; async, since FastAPI would hand it to another thread otherwise."""
    services: Services = request.app.state.services
    return services


Parts = Annotated[Services, Depends(services_of)]

# For the OpenAPI document: what the header says, and what is wrong with it, `_token_of` reads.
_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="bearer",
    description="A token that `prolu token create` made, or that of the token file of the service on the same machine.",
)


async def authenticated(
    request: Request, services: Parts, _: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Principal:
    """The user whose token the request carries. Raises Unauthenticated, TooManyRequests, Forbidden by `service.domain.access`."""
    token = _token_of(request)
    user = services.gate.known(token)
    if user is None:
        user = await run_in_threadpool(services.gate.ask, token)
    if services.throttle is not None:
        _require_patience(services.throttle, user)
    operation = request.scope["route"].operation_id or ""
    asking = replace(user, operation=operation, request_id=request.scope["prolu.request_id"])
    require(asking, need_of(operation, request.method))
    return asking


User = Annotated[Principal, Depends(authenticated)]


async def may_scrape(
    request: Request, services: Parts, _: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> None:
    """Let a user pass, or anybody where the operator has opened the metrics. Raises as `authenticated` does."""
    if not services.settings.metrics_open:
        await authenticated(request, services, None)


def _token_of(request: Request) -> str:
    """What stands after `Bearer`. Raises Unauthenticated, which never repeats it."""
    given = request.headers.getlist("Authorization")
    if not given:
        raise Unauthenticated(
            "The request carries no bearer token; send `Authorization: Bearer TOKEN`, with a token that `prolu token create` "
            "made, or the one of the service's token file.",
            has_token=False,
        )
    if len(given) > 1:
        raise Unauthenticated(f"The request has {len(given)} Authorization headers; send one, with one bearer token.")
    scheme, _, token = given[0].strip().partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthenticated(
            "The Authorization header is not of the scheme Bearer; send `Authorization: Bearer TOKEN`."
        )
    token = token.strip()
    if not looks_like_a_token(token):
        raise Unauthenticated(
            "The bearer token is malformed: a token is `prolu_` and 43 letters, digits, - and _; copy it anew, and alone."
        )
    return token


def _require_patience(throttle: Throttle, user: Principal) -> None:
    seconds = throttle.take(user.user_id, time.monotonic())
    if seconds > 0:
        wait = max(1, math.ceil(seconds))
        raise TooManyRequests(
            f"{user.name} sends more requests than one user may; wait {wait} s, and send fewer or ask for longer pages.",
            wait,
        )
