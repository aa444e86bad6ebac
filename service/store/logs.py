"""What attempts logged, by attempt and report.

One writer at a time reports for a run, and holds the run's row while it does, so the order of (epoch, seq) is the order
of commits: whoever has seen a position and asks for what lies after it misses nothing.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Select, select, tuple_
from sqlalchemy.orm import Session

from prolu.client.wire import FollowedToTheEnd, LogRead, Page
from service.store import pages
from service.store.endings import ended_in
from service.store.lists import owner_of
from service.store.models import LogChunkRow

# Epoch and seq: a place in the log of a run. Both count from 1.
Position = tuple[int, int]
BEGINNING: Position = (0, 0)

_AT_ONCE = 100


def page(session: Session, run_id: UUID, *, epoch: int | None, limit: int, cursor: str | None) -> Page[LogRead]:
    """The log of a run, or of one attempt, from its beginning. Raises NotFound."""
    owner_of(session, run_id)
    after = BEGINNING if cursor is None else pages.decode(cursor, pages.BY_EPOCH_AND_SEQUENCE)
    rows = session.scalars(_after(run_id, after, epoch).limit(limit + 1)).all()
    return pages.page(rows, limit, _read, lambda row: (row.epoch, row.seq))


def tail(session: Session, run_id: UUID, *, epoch: int | None, lines: int) -> list[LogRead]:
    """The last `lines` lines, in order; the first report among them is cut to those of its lines that count. Raises NotFound."""
    owner_of(session, run_id)
    found: list[LogRead] = []
    newest_first = _of(run_id, epoch).order_by(LogChunkRow.epoch.desc(), LogChunkRow.seq.desc()).limit(_AT_ONCE)
    rows = session.scalars(newest_first).all()
    while rows:
        for row in rows:
            told = row.text.split("\n")
            found.append(_read(row).model_copy(update={"text": "\n".join(told[-lines:])}))
            lines -= len(told)
            if lines <= 0:
                return found[::-1]
        here = tuple_(LogChunkRow.epoch, LogChunkRow.seq)
        rows = session.scalars(newest_first.where(here < (rows[-1].epoch, rows[-1].seq))).all()
    return found[::-1]


def news(
    session: Session, run_id: UUID, after: Position, *, epoch: int | None
) -> tuple[list[LogRead], FollowedToTheEnd | None]:
    """What was logged after a position, at most 100 reports; and, after the last one of a log that has ended, its end.

    Raises NotFound.
    """
    state = ended_in(session, run_id, epoch)
    rows = session.scalars(_after(run_id, after, epoch).limit(_AT_ONCE)).all()
    end = FollowedToTheEnd(state=state) if state is not None and len(rows) < _AT_ONCE else None
    return [_read(row) for row in rows], end


def _after(run_id: UUID, position: Position, epoch: int | None) -> Select[LogChunkRow]:
    here = tuple_(LogChunkRow.epoch, LogChunkRow.seq)
    return _of(run_id, epoch).where(here > position).order_by(LogChunkRow.epoch, LogChunkRow.seq)


def _of(run_id: UUID, epoch: int | None) -> Select[LogChunkRow]:
    statement = select(LogChunkRow).where(LogChunkRow.run_id == run_id)
    return statement if epoch is None else statement.where(LogChunkRow.epoch == epoch)


def _read(row: LogChunkRow) -> LogRead:
    return LogRead.model_validate(row, from_attributes=True)
