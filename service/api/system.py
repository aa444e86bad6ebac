"""About the service itself: what runs, whether it lives and can work."""

from __future__ import annotations

from fastapi import APIRouter, Response
from sqlalchemy.exc import SQLAlchemyError

from prolu import __version__
from prolu.client.wire import ReadyRead, VersionRead
from service.api.context import Parts, Services, User
from service.domain.errors import Unavailable
from service.store import schema

router = APIRouter(tags=["service"])


@router.get("/v1/version", operation_id="get_version")
def get_version(services: Parts, _: User) -> VersionRead:
    """What runs here."""
    return VersionRead(version=__version__, api="v1", database=services.database.engine.dialect.name)


@router.get("/livez", operation_id="get_livez")
def get_livez() -> dict[str, str]:
    """Whether the process answers at all; asks nothing else. No token needed."""
    return {"status": "ok"}


@router.get(
    "/readyz", operation_id="get_readyz", responses={503: {"model": ReadyRead, "description": "It cannot work now."}}
)
def get_readyz(services: Parts, response: Response) -> ReadyRead:
    """Whether the service can do its work: database, schema, artifact store. 503 where not. No token needed."""
    checks = {"database": _database(services), "artifacts": _artifacts(services)}
    ready = all(found == "ok" for found in checks.values())
    response.status_code = 200 if ready else 503
    return ReadyRead(ready=ready, checks=checks)


def _database(services: Services) -> str:
    try:
        return schema.shortcoming(services.database) or "ok"
    except SQLAlchemyError as error:
        return (
            f"The database does not answer ({type(error).__name__}); see that it runs and PROLU_DATABASE_URL is right."
        )


def _artifacts(services: Services) -> str:
    try:
        services.artifacts.require()
    except Unavailable as error:
        return error.sentence
    return "ok"
