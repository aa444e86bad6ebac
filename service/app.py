"""The composition root: settings in, an application out. Loads neither torch nor ray."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import Depends, FastAPI

from prolu import __version__
from service.api import (
    audit,
    checkpoints,
    chores,
    comparisons,
    curves,
    downloads,
    events,
    frontiers,
    logs,
    metric_streams,
    metrics,
    nodes,
    openapi,
    problems,
    queue,
    reference_page,
    results,
    run_verbs,
    runs,
    series,
    sharing,
    sweep_metric_streams,
    sweep_verbs,
    sweeps,
    system,
    tokens,
    trials,
    users,
)
from service.api.addresses import Addresses
from service.api.context import Services
from service.api.counting import Metrics
from service.api.following import Streams
from service.api.middleware import Surround
from service.api.parameters import only_known
from service.domain.throttle import Throttle
from service.settings import LONGEST_PATIENCE_SECONDS, Settings
from service.store import schema
from service.store.artifacts import Artifacts
from service.store.changes import Changes
from service.store.db import Database
from service.store.deletion import Remover
from service.store.events import Settled
from service.store.gate import Gate
from service.store.hub import Hub
from service.store.local_token import ensure_local_token
from service.store.offers import Offers
from service.store.planned import Planned
from service.store.surroundings import Surroundings


def create_app(settings: Settings, *, hub_transport: httpx.BaseTransport | None = None) -> FastAPI:
    """Put the service together. Nothing is opened before the app starts; `hub_transport` is for tests."""
    database = Database(settings.database_url, patience_seconds=LONGEST_PATIENCE_SECONDS)
    settled = Settled()
    streams = Streams(
        database,
        Changes(database, settled),
        at_most=settings.max_streams,
        lifetime_seconds=settings.stream_seconds,
    )
    artifacts = Artifacts(settings.artifact_root)
    services = Services(
        settings=settings,
        database=database,
        artifacts=artifacts,
        remover=Remover(database, artifacts),
        planned=Planned(database, settings.policy),
        gate=Gate(database),
        throttle=_throttle(settings),
        surroundings=Surroundings(
            data_roots=settings.data_folders,
            url_roots=settings.data_urls,
            hub_mode=settings.hub,
            hub_cache=settings.hub_cache,
            hub=Hub.of(settings, hub_transport),
            one_machine=database.is_sqlite,
            max_gpus_per_user=settings.max_gpus_per_user,
        ),
        offers=Offers(database),
        streams=streams,
        settled=settled,
        metrics=Metrics(database, lambda: streams.open),
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        start(services)
        with services.gate.noting(), services.remover.working():
            yield
        database.dispose()

    app = FastAPI(
        title="prolu",
        version=__version__,
        lifespan=lifespan,
        dependencies=[Depends(only_known)],
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False},
    )
    app.state.services = services
    app.add_middleware(Addresses, routes=lambda: app.routes)
    app.add_middleware(Surround, max_body_bytes=settings.max_body_bytes, answered=services.metrics.answered)
    for router in (
        runs.router,
        run_verbs.router,
        sweeps.router,
        sweep_verbs.router,
        trials.router,
        results.router,
        sharing.router,
        frontiers.router,
        series.router,
        curves.router,
        comparisons.router,
        logs.router,
        events.router,
        metrics.router,
        metric_streams.router,
        sweep_metric_streams.router,
        checkpoints.router,
        checkpoints.of_runs,
        checkpoints.of_sweeps,
        chores.of_checkpoints,
        chores.router,
        downloads.router,
        queue.router,
        nodes.router,
        users.router,
        tokens.router,
        audit.router,
        system.router,
    ):
        app.include_router(router)
    problems.install(app)
    openapi.install(app)
    reference_page.install(app)
    return app


def start(services: Services) -> None:
    """Bring what the service needs into place: schema (SQLite only), token file, default data root.

    With a PostgreSQL whose schema is behind, the service starts all the same and /readyz says what to do.
    """
    schema.prepare(services.database)
    for root in services.settings.data_folders:
        if root.is_relative_to(services.settings.data_dir):
            root.mkdir(parents=True, exist_ok=True)
    if schema.shortcoming(services.database) is None:
        with services.database.begin() as session:
            ensure_local_token(session, services.settings)


def _throttle(settings: Settings) -> Throttle | None:
    if settings.max_requests_per_second is None:
        return None
    return Throttle(per_second=settings.max_requests_per_second, burst=settings.request_burst)
