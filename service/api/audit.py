"""`/v1/audit`: who changed what; one's own changes, and for administrators everybody's."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AwareDatetime

from prolu.client.wire import AuditRead, Page
from service.api.context import Parts, User
from service.api.lists import Cursor, Limit, Name
from service.domain.access import require
from service.store import audit

router = APIRouter(prefix="/v1/audit", tags=["people"])

# Between these every moment can be told in UTC.
_BOUNDS = {"ge": datetime(1970, 1, 2, tzinfo=UTC), "lt": datetime(3000, 1, 1, tzinfo=UTC)}


@router.get("", operation_id="list_audit_entries", responses={403: {}})
def list_audit_entries(
    services: Parts,
    asks: User,
    user: Annotated[Name | None, Query(description="Only what this user changed.")] = None,
    action: Annotated[
        Name | None, Query(description="Only of this operation, named as in this document.", examples=["cancel_run"])
    ] = None,
    target: Annotated[Name | None, Query(description="Only of what has this id; of nodes the name.")] = None,
    since: Annotated[AwareDatetime | None, Query(**_BOUNDS, description="Only from this moment on.")] = None,
    until: Annotated[AwareDatetime | None, Query(**_BOUNDS, description="Only before this moment.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[AuditRead]:
    """Changes, the newest first: one's own, and for administrators everybody's. A sweep is one, however many runs it has."""
    if user is not None and user != asks.name:
        require(asks, "admin")
    with services.database.read() as session:
        return audit.entries(
            session,
            by=None if asks.is_admin else asks.user_id,
            user=user,
            action=action,
            target=target,
            since=since,
            until=until,
            limit=limit,
            cursor=cursor,
        )
