"""What was committed since one last looked, asked so cheaply that it can be asked all the time.

SQLite: `PRAGMA data_version` changes with every commit of another connection, so the one that asks is kept and never
writes. PostgreSQL: whatever commits or rolls back after it wrote leaves the list of running transactions, so the text of
a snapshot changes with it; a mark that stays the same says that nothing was committed in between.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection, func, select, text
from sqlalchemy.orm import Session

from service.domain import lifecycle
from service.store.db import Database
from service.store.events import Settled
from service.store.models import AttemptRow, EventRow, RunRow, SearchRow, SweepRow

_MARK = {"sqlite": text("PRAGMA data_version"), "postgresql": text("SELECT pg_current_snapshot()::text")}
# As many runs are asked for in one statement; SQLite takes 32,766 values.
_AT_ONCE = 500
# Of so many events at once it is not asked whose they are.
_MOST_EVENTS = 5_000


class Changed(NamedTuple):
    """What a look found: which runs reported, changed their state or got an attempt, and whose events are new."""

    reported: frozenset[UUID]
    """Of the runs and sweeps that were asked for; a sweep reports when one of its runs does, or when its search ends."""
    events: bool
    """Whether there is any new event."""
    events_of: frozenset[UUID] | None
    """Runs and sweeps with new events; None: it may be any."""


NOTHING = Changed(frozenset(), events=False, events_of=frozenset())


class Changes:
    """One for all who follow something in this process. Not for several threads at once. Each call may raise SQLAlchemyError."""

    def __init__(self, database: Database, settled: Settled) -> None:
        self._database = database
        self._settled = settled
        self._mark: object = None
        self._events_up_to: int | None = None
        self._states: dict[UUID, tuple[object, ...]] = {}

    def since(self, connection: Connection, runs: Collection[UUID], sweeps: Collection[UUID]) -> Changed:
        """What has changed since the last call, by a connection that is always the same and writes nothing."""
        mark = connection.execute(_MARK[connection.dialect.name]).scalar_one()
        if mark == self._mark and self._states.keys() >= {*runs, *sweeps}:
            return NOTHING
        self._mark = mark
        with self._database.read() as session:
            before, self._events_up_to = self._events_up_to, self._settled.up_to(session)
            after = self._events_up_to
            new = after is not None and after != before
            whose = None if not new or before is None or after is None else _whose(session, before, after)
            states = {**dict(_states(session, runs)), **dict(_states_of_sweeps(session, sweeps))}
        reported = frozenset(name for name, state in states.items() if self._states.get(name) != state)
        self._states = states
        return Changed(reported, new, whose)


def _states(session: Session, runs: Collection[UUID]) -> Iterator[tuple[UUID, tuple[object, ...]]]:
    """What changes with everything that a run or its present attempt says."""
    listed = [*runs]
    for start in range(0, len(listed), _AT_ONCE):
        rows = session.execute(
            select(RunRow.id, RunRow.state, RunRow.epoch, AttemptRow.last_seq)
            .outerjoin(AttemptRow, (AttemptRow.run_id == RunRow.id) & (AttemptRow.epoch == RunRow.epoch))
            .where(RunRow.id.in_(listed[start : start + _AT_ONCE]))
        )
        yield from ((row[0], tuple(row[1:])) for row in rows)


def _states_of_sweeps(session: Session, sweeps: Collection[UUID]) -> Iterator[tuple[UUID, tuple[object, ...]]]:
    """The same of all runs of a sweep: attempts and their reports only grow, and a run that has ended stays so."""
    listed = [*sweeps]
    ended = func.count(RunRow.id).filter(RunRow.state.in_(lifecycle.TERMINAL))
    for start in range(0, len(listed), _AT_ONCE):
        rows = session.execute(
            select(
                SweepRow.id,
                func.count(RunRow.id),
                func.sum(RunRow.epoch),
                func.sum(AttemptRow.last_seq),
                ended,
                func.max(SearchRow.state),
            )
            .outerjoin(RunRow, RunRow.sweep_id == SweepRow.id)
            .outerjoin(AttemptRow, (AttemptRow.run_id == RunRow.id) & (AttemptRow.epoch == RunRow.epoch))
            .outerjoin(SearchRow, SearchRow.sweep_id == SweepRow.id)
            .where(SweepRow.id.in_(listed[start : start + _AT_ONCE]))
            .group_by(SweepRow.id)
        )
        yield from ((row[0], tuple(row[1:])) for row in rows)


def _whose(session: Session, after: int, up_to: int) -> frozenset[UUID] | None:
    if up_to - after > _MOST_EVENTS:
        return None
    rows = session.execute(
        select(EventRow.run_id, RunRow.sweep_id)
        .distinct()
        .join(RunRow, RunRow.id == EventRow.run_id)
        .where(EventRow.id > after, EventRow.id <= up_to)
    )
    return frozenset(name for row in rows for name in row if name is not None)
