"""With whom a sweep is shared: its editors, who decide about it and its runs as its owner does."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from prolu.spec import Mistake
from service.domain.errors import Invalid
from service.store.db import database_now, insert_new
from service.store.models import SweepEditorRow, UserRow


def editors_of(session: Session, sweep_ids: Iterable[UUID]) -> dict[UUID, list[str]]:
    """The names of the editors of those of the sweeps that are shared, by name."""
    rows = session.execute(
        select(SweepEditorRow.sweep_id, UserRow.name)
        .join(UserRow, UserRow.id == SweepEditorRow.user_id)
        .where(SweepEditorRow.sweep_id.in_(list(sweep_ids)))
        .order_by(UserRow.name)
    )
    found: dict[UUID, list[str]] = defaultdict(list)
    for sweep_id, name in rows:
        found[sweep_id].append(name)
    return found


def is_editor(session: Session, user_id: UUID, sweep_id: UUID) -> bool:
    """Whether a sweep is shared with a user."""
    return session.get(SweepEditorRow, (sweep_id, user_id)) is not None


def share(session: Session, sweep_id: UUID, *, owner_id: UUID, names: Sequence[str]) -> None:
    """Share a sweep that is locked with users, who may be its editors already. Raises Invalid for those who cannot be."""
    now = database_now(session)
    found = _named(session, names)
    mistakes = [
        Mistake(("users", index), sentence)
        for index, name in enumerate(names)
        if (sentence := _why_not(found.get(name), name, owner_id)) is not None
    ]
    if mistakes:
        raise Invalid(" ".join(mistake.sentence for mistake in mistakes), mistakes)
    for row in found.values():
        editor = {"sweep_id": sweep_id, "user_id": row.id, "created_at": now}
        insert_new(session, SweepEditorRow, editor, key=["sweep_id", "user_id"])


def unshare(session: Session, sweep_id: UUID, *, names: Sequence[str]) -> None:
    """Share a sweep that is locked with these users no longer, if it was. Raises Invalid for those that there are not."""
    found = _named(session, names)
    mistakes = [Mistake(("users", index), _unknown(name)) for index, name in enumerate(names) if name not in found]
    if mistakes:
        raise Invalid(" ".join(mistake.sentence for mistake in mistakes), mistakes)
    gone = [row.id for row in found.values()]
    session.execute(delete(SweepEditorRow).where(SweepEditorRow.sweep_id == sweep_id, SweepEditorRow.user_id.in_(gone)))


def _named(session: Session, names: Sequence[str]) -> dict[str, UserRow]:
    return {row.name: row for row in session.scalars(select(UserRow).where(UserRow.name.in_(names)))}


def _why_not(row: UserRow | None, name: str, owner_id: UUID) -> str | None:
    if row is None:
        return _unknown(name)
    if row.id == owner_id:
        return f"{name} is the owner of the sweep; leave them out."
    if row.role == "viewer":
        return f"{name} is a viewer, who changes nothing; ask an administrator to make them a member."
    return f"{name} is disabled; leave them out." if row.disabled_at is not None else None


def _unknown(name: str) -> str:
    return f"There is no user {name!r}; write the name as it stands in the lists of runs, or as they see it with `prolu whoami`."
