"""Users: made, changed, listed, and what one of them uses of their limits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, func, select
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from prolu.client.wire import Page, Role, UserRead
from service.domain import lifecycle
from service.domain.errors import Conflict, NotFound
from service.store import pages
from service.store.db import database_now, insert_new
from service.store.models import RunRow, UserRow
from service.store.submission import WAITS

ADMIN = "admin"

_GOES_ON = RunRow.state.in_(sorted(set(lifecycle.LIVE) | set(lifecycle.RESTING)))


def ensure_user(session: Session, name: str, *, role: Role = "member") -> UUID:
    """Give the id of the user of that name, who is made if need be."""
    row = {"id": uuid7(), "name": name, "role": role, "created_at": database_now(session)}
    insert_new(session, UserRow, row, key=["name"])
    return session.scalars(select(UserRow.id).where(UserRow.name == name)).one()


def create(session: Session, *, name: str, role: Role, weight: float, max_queued: int | None) -> UUID:
    """Make a user. Raises Conflict where there is one of that name."""
    row: dict[str, Any] = {"id": uuid7(), "name": name, "role": role, "weight": weight, "max_queued": max_queued}
    if not insert_new(session, UserRow, {**row, "created_at": database_now(session)}, key=["name"]):
        raise Conflict(f"There is a user {name!r} already; take another name, or change that user.")
    user_id: UUID = row["id"]
    return user_id


def locked(session: Session, user_id: UUID) -> UserRow:
    """Hold a user, and the administrators, until the transaction ends, so that two cannot take each other's role away.

    Raises NotFound.
    """
    # In one order, so that two who do so wait for each other and do not block each other.
    held = session.scalars(
        select(UserRow)
        .where((UserRow.id == user_id) | _IS_ADMIN)
        .order_by(UserRow.id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).all()
    for row in held:
        if row.id == user_id:
            return row
    raise NotFound(f"There is no user {user_id}; GET /v1/users lists those that there are.")


def change(session: Session, row: UserRow, changes: Mapping[str, Any]) -> None:
    """Change a user who is locked: role, weight, max_queued, disabled. Raises Conflict for the last administrator."""
    for name, value in changes.items():
        if name != "disabled":
            setattr(row, name, value)
        elif value != (row.disabled_at is not None):
            row.disabled_at = database_now(session) if value else None
    session.flush()
    governs = changes.keys() & {"role", "disabled"}
    if governs and session.scalars(select(UserRow.id).where(_IS_ADMIN).limit(1)).first() is None:
        raise Conflict(
            f"{row.name} is the last administrator who is not disabled; make another user one before you change this."
        )


def one(session: Session, user_id: UUID) -> UserRead:
    """A user. Raises NotFound."""
    row = session.execute(_users().where(UserRow.id == user_id)).one_or_none()
    if row is None:
        raise NotFound(f"There is no user {user_id}; GET /v1/users lists those that there are.")
    return _read(row, _unfinished(session, [user_id]))


def named(session: Session, name: str) -> tuple[Role, UUID]:
    """The role and the id of the user of that name. Raises NotFound."""
    row = session.execute(select(UserRow.role, UserRow.id).where(UserRow.name == name)).one_or_none()
    if row is None:
        raise NotFound(f"There is no user {name!r}; GET /v1/users lists those that there are.")
    return row.role, row.id


def users(session: Session, *, name: str | None = None, limit: int, cursor: str | None) -> Page[UserRead]:
    """Users in the order in which they were made, or the one of that name."""
    statement = _users()
    if name is not None:
        statement = statement.where(UserRow.name == name)
    if cursor is not None:
        statement = statement.where(UserRow.id > pages.decode(cursor, pages.BY_ID)[0])
    rows = session.execute(statement.order_by(UserRow.id).limit(limit + 1)).all()
    unfinished = _unfinished(session, [row.id for row in rows[:limit]])
    return pages.page(rows, limit, lambda row: _read(row, unfinished), lambda row: (row.id,))


def in_use(session: Session, user_id: UUID) -> tuple[int, float]:
    """How many runs of a user wait, and how many GPUs their runs hold."""
    waiting = session.scalars(select(func.count()).select_from(RunRow).where(RunRow.owner_id == user_id, WAITS)).one()
    gpus = session.scalars(
        select(func.coalesce(func.sum(RunRow.gpus * RunRow.ranks), 0.0)).where(
            RunRow.owner_id == user_id, RunRow.state.in_(sorted(lifecycle.LIVE))
        )
    ).one()
    return waiting, float(gpus)


_IS_ADMIN = (UserRow.role == "admin") & UserRow.disabled_at.is_(None)


def _users() -> Select[Any]:
    return select(*UserRow.__table__.columns)


def _unfinished(session: Session, user_ids: Iterable[UUID]) -> dict[UUID, int]:
    rows = session.execute(
        select(RunRow.owner_id, func.count().label("runs"))
        .where(RunRow.owner_id.in_(list(user_ids)), _GOES_ON)
        .group_by(RunRow.owner_id)
    )
    return {row.owner_id: row.runs for row in rows}


def _read(row: Row[Any], unfinished: Mapping[UUID, int]) -> UserRead:
    return UserRead(
        id=row.id,
        name=row.name,
        role=row.role,
        weight=row.weight,
        max_queued=row.max_queued,
        disabled=row.disabled_at is not None,
        disabled_at=row.disabled_at,
        unfinished_runs=unfinished.get(row.id, 0),
        created_at=row.created_at,
    )
