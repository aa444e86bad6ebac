"""Which of several dispatchers leads: one row with a holder, a time it is good until, and a term that rises with every change.

Leadership only saves work. What keeps two dispatchers from doing harm is that every write of an attempt is guarded by its
row, so a leader that was asleep while another took over can do nothing that counts.

A leader asks for its lead again when 60 % of its time is left, so for at most 4 s of 10 one that lost it may still hear
attempts, beside the new one. Both store the same: messages are numbered, a number that is stored is passed over under the
lock of the run's row, an actor forgets only what one of them has stored, and to hear an attempt renews its lease whoever
does it. To reap asks the row's lease, and to end a stranger the rows of live attempts, as they are at that moment. Before
anything is granted, stopped or started, the lead is asked for in the database (`leads`).
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.store.db import database_now, insert_new
from service.store.models import DispatcherRow

# A dispatcher that was silent for longer is taken for gone.
BELIEVED = timedelta(seconds=30)

_ROW = 1


def lead(session: Session, holder: str, *, seconds: float) -> int | None:
    """Take the lead or keep it, for `seconds` from now by the database's clock. Returns the term; None where another leads."""
    row = session.get(DispatcherRow, _ROW, with_for_update=True, populate_existing=True)
    now = database_now(session)
    if row is None:
        insert_new(session, DispatcherRow, {"id": _ROW, "term": 0, "seen_at": now}, key=["id"])
        row = session.get_one(DispatcherRow, _ROW, with_for_update=True, populate_existing=True)
    if row.holder != holder:
        if row.lease_until is not None and row.lease_until > now:
            return None
        row.holder, row.term = holder, row.term + 1
    row.seen_at, row.lease_until = now, now + timedelta(seconds=seconds)
    session.flush()
    return row.term


def leads(session: Session, holder: str) -> bool:
    """Whether the lead is this dispatcher's at this moment, whatever it believes itself."""
    row = session.get(DispatcherRow, _ROW, populate_existing=True)
    return row is not None and row.holder == holder


def resign(session: Session, holder: str) -> None:
    """Give up the lead, so that another need not wait for its end; nothing where somebody else leads by now."""
    row = session.get(DispatcherRow, _ROW, with_for_update=True, populate_existing=True)
    if row is not None and row.holder == holder:
        row.lease_until = database_now(session)
        session.flush()


def last_sign_of_life(session: Session) -> datetime | None:
    """When a leader last took or kept the lead; None before the first."""
    seen_at: datetime | None = session.connection().execute(_SEEN_AT).scalar_one_or_none()
    return seen_at


_SEEN_AT = select(DispatcherRow.seen_at).where(DispatcherRow.id == _ROW)
