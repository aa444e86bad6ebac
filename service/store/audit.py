"""The log of changes: who changed what, with which token, in which request. Written with the change, and never changed.

An entry tells what was changed in brief, and holds no secret and no spec. A sweep is one entry, however many runs it has.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Table, insert, select
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from prolu.client.wire import AuditRead, Page, TargetKind
from service.domain.access import Principal
from service.store import pages
from service.store.db import clock
from service.store.models import AuditRow, UserRow

# Made once, and of the table: each submission writes one.
_ADD = insert(cast("Table", AuditRow.__table__)).values(at=clock())
# Identities rise with the clocks of the services that made them, none of which is off by more.
_SLACK = timedelta(days=1)

Brief = Mapping[str, Any]


def record(
    session: Session,
    by: Principal,
    target_kind: TargetKind,
    target_id: UUID | str,
    *,
    before: Brief | None = None,
    after: Brief | None = None,
) -> None:
    """Note a change in the transaction that makes it."""
    _write(session, by.user_id, by.token_id, by.operation, (target_kind, str(target_id)), by.request_id, before, after)


def record_change(
    session: Session, by: Principal, target_kind: TargetKind, target_id: UUID | str, *, before: Brief, after: Brief
) -> None:
    """Note what is different after a change; nothing, if nothing is."""
    different = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    if different:
        record(
            session,
            by,
            target_kind,
            target_id,
            before={name: before.get(name) for name in different},
            after={name: after.get(name) for name in different},
        )


def record_of_service(session: Session, action: str, target_kind: TargetKind, target_id: UUID, after: Brief) -> None:
    """Note what the service did by itself."""
    _write(session, None, None, action, (target_kind, str(target_id)), "", None, after)


def entries(
    session: Session,
    *,
    by: UUID | None = None,
    user: str | None = None,
    action: str | None = None,
    target: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int,
    cursor: str | None,
) -> Page[AuditRead]:
    """Changes, the newest first: by the user `by`, by a user of that name, of that action, of the thing `target`.

    Between `since` (with it) and `until` (without it).
    """
    statement = select(AuditRow, UserRow.name).outerjoin(UserRow, UserRow.id == AuditRow.user_id)
    if by is not None:
        statement = statement.where(AuditRow.user_id == by)
    if user is not None:
        statement = statement.where(
            AuditRow.user_id == select(UserRow.id).where(UserRow.name == user).scalar_subquery()
        )
    if action is not None:
        statement = statement.where(AuditRow.action == action)
    if target is not None:
        statement = statement.where(AuditRow.target_id == target)
    # The bounds of the identities only keep the search from walking through the whole log.
    if since is not None:
        statement = statement.where(AuditRow.at >= since, AuditRow.id >= _first_id_at(since - _SLACK))
    if until is not None:
        statement = statement.where(AuditRow.at < until, AuditRow.id < _first_id_at(until + _SLACK))
    if cursor is not None:
        statement = statement.where(AuditRow.id < pages.decode(cursor, pages.BY_ID)[0])
    rows = session.execute(statement.order_by(AuditRow.id.desc()).limit(limit + 1)).all()
    return pages.page(rows, limit, lambda row: _read(*row), lambda row: (row[0].id,))


def _write(
    session: Session,
    user_id: UUID | None,
    token_id: UUID | None,
    action: str,
    target: tuple[TargetKind, str],
    request_id: str,
    before: Brief | None,
    after: Brief | None,
) -> None:
    row = {
        "id": uuid7(),
        "user_id": user_id,
        "token_id": token_id,
        "action": action,
        "target_kind": target[0],
        "target_id": target[1],
        "request_id": request_id,
        "before": before,
        "after": after,
    }
    session.connection().execute(_ADD, row)


def _first_id_at(moment: datetime) -> UUID:
    """The least UUIDv7 of a millisecond."""
    return UUID(int=max(0, int(moment.timestamp() * 1000)) << 80)


def _read(row: AuditRow, user: str | None) -> AuditRead:
    fields = {name: getattr(row, name) for name in AuditRead.model_fields if name != "user"}
    return AuditRead(**fields, user=user)
