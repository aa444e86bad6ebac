"""Everything that happens to runs, in an order in which nothing is missed.

PostgreSQL numbers events when they are written, and shows them when they are committed: of two transactions the one
with the higher numbers may commit first. A reader that goes on after the highest number it has seen would never see the
other's. So a number counts as settled only when every transaction that might still commit a lower one is over:

    look at the highest number N that is visible, then at the transaction id X that will be given out next; every number
    below N was given out before, to a transaction with an id below X (a writer has its id before it takes a number, since it
    locks or inserts the run first). Once all ids below X are over (the xmin of a later snapshot is >= X), everything up to N
    is visible or will never be.

With nobody writing at that moment, N is settled at once; otherwise when those who write have ended. SQLite lets one write
at a time: there the order of numbers is the order of commits.
"""

from __future__ import annotations

import threading
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from prolu.client.wire import EventRead
from service.store.models import EventRow, RunRow

AT_ONCE = 500

# A snapshot's own xmax is not X: it is one above the highest id that is over, and higher ones may be running. age() counts
# from an id to the next one.
_SNAPSHOT = text(
    "SELECT pg_snapshot_xmin(seen)::text::bigint,"
    " pg_snapshot_xmax(seen)::text::bigint + age(pg_snapshot_xmax(seen)::xid)"
    " FROM pg_current_snapshot() AS seen"
)


class Settled:
    """Up to which number events are settled; one for all readers of a process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._settled: int | None = None
        self._waiting: tuple[int, int] | None = None

    def up_to(self, session: Session) -> int | None:
        """The highest number at or below which nothing new will appear; None before it can be told: ask again soon.

        Read the events after this, not before.
        """
        newest = session.scalar(select(func.max(EventRow.id))) or 0
        if session.get_bind().dialect.name == "sqlite":
            return newest
        oldest_running, next_id = session.execute(_SNAPSHOT).one()
        with self._lock:
            if self._waiting is not None and oldest_running >= self._waiting[1]:
                self._settle(self._waiting[0])
                self._waiting = None
            if oldest_running >= next_id:  # nobody writes
                self._settle(newest)
            elif self._waiting is None and (self._settled is None or newest > self._settled):
                self._waiting = (newest, next_id)
            return self._settled

    def _settle(self, number: int) -> None:
        self._settled = number if self._settled is None else max(self._settled, number)


def between(
    session: Session, after: int, up_to: int, *, run_id: UUID | None = None, sweep_id: UUID | None = None
) -> list[EventRead]:
    """Events numbered above `after` and up to `up_to`, in order, at most 500: of everything, of a run, or of a sweep."""
    statement = select(EventRow).where(EventRow.id > after, EventRow.id <= up_to)
    if run_id is not None:
        statement = statement.where(EventRow.run_id == run_id)
    if sweep_id is not None:
        statement = statement.join(RunRow, RunRow.id == EventRow.run_id).where(RunRow.sweep_id == sweep_id)
    rows = session.scalars(statement.order_by(EventRow.id).limit(AT_ONCE))
    return [EventRead.model_validate(row, from_attributes=True) for row in rows]
