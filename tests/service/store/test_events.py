"""Events are read in an order in which nothing is missed, whoever commits first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from uuid import UUID

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from service.store import events, schema
from service.store.attempts import lock_run, record
from service.store.db import Database, database_now
from service.store.events import Settled
from service.store.models import EventRow
from tests.postgres import running_postgres
from tests.service.store.operations import run_together, submit

# SQLite lets one write at a time, so that there is nothing to wait for.
ONLY_WHERE_SEVERAL_WRITE_AT_ONCE = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@pytest.fixture(scope="module")
def migrated_postgres() -> Iterator[str]:
    """A server on which nobody else writes: what is settled waits for all transactions of a server, autovacuum's too."""
    with running_postgres(("fsync=off", "autovacuum=off")) as server:
        url = server.empty()
        opened = Database(url)
        schema.upgrade(opened)
        opened.dispose()
        yield url


class Reader:
    """Goes on after the last number it saw, as a stream does."""

    def __init__(self, database: Database, settled: Settled) -> None:
        self._database = database
        self._settled = settled
        self.seen: list[int] = []

    def look(self) -> list[str]:
        with self._database.read() as session:
            up_to = self._settled.up_to(session)
            if up_to is None:
                return []
            found = events.between(session, self.seen[-1] if self.seen else 0, up_to)
        self.seen += [event.id for event in found]
        return [event.kind for event in found]


@contextmanager
def happens(database: Database, run_id: UUID, kind: str) -> Iterator[Session]:
    """A transaction in which something happens to a run; it ends with the block."""
    with database.begin() as session:
        run = lock_run(session, run_id)
        assert run is not None
        record(session, run, kind, now=database_now(session))
        session.flush()
        yield session


def test_what_has_happened_is_seen_once_and_in_order(database: Database, owner_id: UUID) -> None:
    reader = Reader(database, Settled())
    first, second = submit(database, owner_id), submit(database, owner_id)
    assert reader.look() == ["submitted", "submitted"]
    for kind, run_id in (("a", second), ("b", first)):
        with happens(database, run_id, kind):
            pass
    assert reader.look() == ["a", "b"]
    assert reader.look() == []


@ONLY_WHERE_SEVERAL_WRITE_AT_ONCE
def test_an_event_waits_for_those_with_lower_numbers_that_are_not_committed_yet(
    database: Database, owner_id: UUID
) -> None:
    settled = Settled()
    reader = Reader(database, settled)
    slow, quick, later = (submit(database, owner_id) for _ in range(3))
    reader.look()
    with happens(database, slow, "slow"):
        with happens(database, quick, "quick"):
            pass
        with database.read() as session:
            assert session.scalars(select(EventRow.kind).order_by(EventRow.id.desc())).first() == "quick"
        assert reader.look() == []
        with happens(database, later, "later"):
            pass
        assert reader.look() == []
    assert reader.look() == ["slow", "quick", "later"]


@ONLY_WHERE_SEVERAL_WRITE_AT_ONCE
def test_a_transaction_that_began_later_may_hold_the_lower_number(database: Database, owner_id: UUID) -> None:
    reader = Reader(database, Settled())
    first, second = (submit(database, owner_id) for _ in range(2))
    reader.look()
    with ExitStack() as late:
        with database.begin() as early:
            run = lock_run(early, first)  # the transaction has its id now, and takes its number after the other
            assert run is not None
            late.enter_context(happens(database, second, "of the late"))
            record(early, run, "of the early", now=database_now(early))
        assert reader.look() == []
    assert reader.look() == ["of the late", "of the early"]


@ONLY_WHERE_SEVERAL_WRITE_AT_ONCE
def test_those_who_always_write_do_not_hold_up_readers_for_ever(database: Database, owner_id: UUID) -> None:
    reader = Reader(database, Settled())
    first, second = (submit(database, owner_id) for _ in range(2))
    reader.look()
    with happens(database, first, "one"):
        reader.look()
        with happens(database, second, "two"):
            pass
        reader.look()
    with happens(database, second, "three"):
        assert reader.look() == ["one", "two"]
        with happens(database, first, "four"):
            assert reader.look() == []
        reader.look()
    with happens(database, first, "five"):
        assert reader.look() == ["three", "four"]


def test_a_number_that_was_taken_back_is_a_gap_and_holds_up_nobody(database: Database, owner_id: UUID) -> None:
    reader = Reader(database, Settled())
    run_id = submit(database, owner_id)

    class Regretted(Exception):
        pass

    with pytest.raises(Regretted), happens(database, run_id, "never"):
        raise Regretted
    with happens(database, run_id, "ever"):
        pass
    assert reader.look() == ["submitted", "ever"]


def test_under_many_writers_two_readers_that_share_what_is_settled_miss_nothing(
    database: Database, owner_id: UUID
) -> None:
    settled = Settled()
    readers = [Reader(database, settled) for _ in range(2)]
    runs = [submit(database, owner_id) for _ in range(4)]
    done: list[UUID] = []

    def write(run_id: UUID) -> None:
        for number in range(8):
            with happens(database, run_id, f"n{number}"):
                pass
        done.append(run_id)

    def read(reader: Reader) -> None:
        while len(done) < len(runs):
            reader.look()
        reader.look()

    jobs = [lambda run_id=run_id: write(run_id) for run_id in runs]
    run_together(*jobs, *[lambda reader=reader: read(reader) for reader in readers])
    with database.read() as session:
        everything = list(session.scalars(select(EventRow.id).order_by(EventRow.id)))
    assert len(everything) == 36
    assert [reader.seen for reader in readers] == [everything, everything]
