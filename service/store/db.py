"""Engines and transactions for SQLite and PostgreSQL; knows no table.

SQLite: WAL, so that readers never wait, and `BEGIN IMMEDIATE` for every transaction that may write, since a deferred
one that reads and then writes fails at once with SQLITE_BUSY_SNAPSHOT, whatever the timeout. PostgreSQL: READ
COMMITTED; reads run in read-only transactions that see one state (REPEATABLE READ).

SQLite waits for its write lock by trying again after sleeps that grow to 100 ms. Threads of one process therefore wait
for each other here, and are woken at once.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import URL, Connection, DateTime, Engine, create_engine, event, literal, make_url, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, InvalidatePoolError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.sql.functions import FunctionElement

from service.store.patience import be_patient

_BUSY_SECONDS = 30
_WRITES, _ALONE = "prolu_writes", "prolu_alone"
# A pooled connection that was used so recently counts as whole without a question to the server.
_TRUSTED_SECONDS = 1.0


# How long libpq waits for a server that is gone (seconds, milliseconds); by itself it waits for a quarter of an hour.
# None of it helps against a server that is there and says nothing; see `service.store.patience`.
_PATIENCE = {
    "connect_timeout": 10,
    "tcp_user_timeout": 30_000,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}


class Database:
    """One database and its connection pool. `begin` for transactions that may write, `read` for those that may not.

    A PostgreSQL that does not answer a statement within `patience_seconds` counts as out of reach, with OperationalError.
    Without it a statement waits for as long as the server is there.
    """

    def __init__(self, url: str, *, patience_seconds: float | None = None) -> None:
        parsed = _parsed(url)
        self._turn = threading.Lock()
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        if self.is_sqlite:
            if parsed.database in (None, "", ":memory:"):
                raise ValueError(f"The database URL {url} names no file; write sqlite:///path/to/file.db.")
            Path(str(parsed.database)).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.engine = create_engine(parsed, pool_size=10, max_overflow=30, connect_args={"timeout": _BUSY_SECONDS})
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
            self._reading: Engine = self.engine
            self._alone = self.engine.execution_options(**{_ALONE: True})
        elif parsed.get_backend_name() == "postgresql":
            self.engine = create_engine(
                parsed.set(drivername="postgresql+psycopg"),
                pool_size=10,
                max_overflow=30,
                connect_args=_timeouts(patience_seconds),
            )
            if patience_seconds is not None:
                be_patient(self.engine, patience_seconds)
            event.listen(self.engine, "connect", _prepare_postgresql)
            event.listen(self.engine, "checkout", self._ask_if_alive)
            event.listen(self.engine, "checkin", _note_use)
            self._reading = self.engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            self._alone = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        else:
            raise ValueError(f"The database is {parsed.get_backend_name()}; prolu works with sqlite and postgresql.")
        self._writing = self.engine.execution_options(**{_WRITES: True})

    @contextmanager
    def begin(self) -> Iterator[Session]:
        """A transaction that may write: committed at the end of the block, rolled back if it raises."""
        with self._in_turn(), Session(self._writing, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A transaction that sees one state of the database and writes nothing."""
        with Session(self._reading, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def look(self) -> Iterator[Connection]:
        """A bare connection for reads that need no transaction: each statement sees the state of its own moment."""
        with self._alone.connect() as connection:
            yield connection

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A bare connection in a writing transaction, for migrations.

        SQLite changes a table by making it anew, which the rows that refer to it would forbid: it checks them at the end.
        """
        with self._writing.connect() as connection:
            if self.is_sqlite:
                _heed_foreign_keys(connection, "OFF")
            try:
                with connection.begin():
                    yield connection
                    if self.is_sqlite:
                        _check_foreign_keys(connection)
            finally:
                if self.is_sqlite:
                    _heed_foreign_keys(connection, "ON")

    def dispose(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        """On SQLite, wait until no other thread of this process writes. After that, as before it, SQLite's own lock decides."""
        mine = self.is_sqlite and self._turn.acquire(timeout=_BUSY_SECONDS)
        try:
            yield
        finally:
            if mine:
                self._turn.release()

    def _ask_if_alive(self, connection: Any, record: Any, _: Any) -> None:
        """Give up the pool where the server has ended a connection meanwhile. To ask every time would cost a round trip each."""
        used_at = record.info.get("used_at")
        if used_at is None or time.monotonic() - used_at < _TRUSTED_SECONDS:
            return
        try:
            self.engine.dialect.do_ping(connection)
        except psycopg.Error as error:
            raise InvalidatePoolError(str(error)) from error


def database_now(session: Session) -> datetime:
    """The database's clock, which alone decides leases: the clocks of the machines around it may differ."""
    connection = session.connection()
    if connection.dialect.name == "sqlite":
        shown: str = connection.execute(_SQLITE_NOW).scalar_one()
        return datetime.fromisoformat(shown).replace(tzinfo=UTC)
    moment: datetime = connection.execute(_POSTGRESQL_NOW).scalar_one()
    return moment.astimezone(UTC)


_SQLITE_NOW = text("SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')")
# Not now(): that is when the transaction began, which may have waited for locks since.
_POSTGRESQL_NOW = text("SELECT clock_timestamp()")


class clock(FunctionElement[datetime]):  # noqa: N801 as SQLAlchemy's own functions are named
    """The same clock within a statement, where the statement began."""

    type = DateTime(timezone=True)
    inherit_cache = True


@compiles(clock, "sqlite")
def _clock_of_sqlite(_: clock, __: Any, **___: Any) -> str:
    return "strftime('%Y-%m-%d %H:%M:%f000', 'now')"  # with as many digits as SQLAlchemy writes


@compiles(clock, "postgresql")
def _clock_of_postgresql(_: clock, __: Any, **___: Any) -> str:
    return "statement_timestamp()"


def insert_new(session: Session, table: type[DeclarativeBase], row: Mapping[str, Any], *, key: Sequence[str]) -> bool:
    """Insert a row unless one with the same `key` exists; waits for a transaction that is inserting it. Says whether it did."""
    statement = dialect_insert(session, table).values(dict(row)).on_conflict_do_nothing(index_elements=list(key))
    return session.execute(statement.returning(literal(1))).first() is not None


def dialect_insert(session: Session, table: type[DeclarativeBase]) -> sqlite.Insert | postgresql.Insert:
    """An INSERT that knows ON CONFLICT, which both databases have and the standard lacks."""
    return sqlite.insert(table) if session.get_bind().dialect.name == "sqlite" else postgresql.insert(table)


def _timeouts(patience_seconds: float | None) -> dict[str, int]:
    if patience_seconds is None:
        return _PATIENCE
    # No number of seconds below two is taken for the time to connect.
    return _PATIENCE | {"connect_timeout": max(2, min(_PATIENCE["connect_timeout"], round(patience_seconds)))}


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except (ArgumentError, ValueError):  # neither is repeated: the URL may hold a password
        raise ValueError(
            "The database URL cannot be read; write sqlite:///path/to/file.db or "
            "postgresql://user:password@host:port/name into PROLU_DATABASE_URL."
        ) from None


def _prepare_sqlite(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # the driver's own BEGIN is deferred; ours is emitted below
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {_BUSY_SECONDS * 1000}")
    cursor.execute("PRAGMA foreign_keys = ON")
    _use_wal(cursor)
    cursor.close()


def _prepare_postgresql(connection: psycopg.Connection[Any], _: Any) -> None:
    """Plan each statement for the values it comes with: a plan for any value reads all runs to find that none has failed.

    Nothing here runs for so long that compiling it first would pay, and cursors are read to their end.
    """
    connection.autocommit = True
    connection.execute("SET plan_cache_mode = force_custom_plan")
    connection.execute("SET jit = off")
    connection.execute("SET cursor_tuple_fraction = 1")
    connection.autocommit = False


def _use_wal(cursor: sqlite3.Cursor) -> None:
    """Switch a new file to WAL, which it keeps. SQLite does not wait for the lock that the switch takes, so we do."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _heed_foreign_keys(connection: Connection, how: str) -> None:
    driver = (
        connection.connection.cursor()
    )  # SQLAlchemy's own would begin a transaction, in which the switch does nothing
    driver.execute(f"PRAGMA foreign_keys = {how}")
    driver.close()


def _check_foreign_keys(connection: Connection) -> None:
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
    if broken is not None:
        raise ValueError(
            f"Row {broken[1]} of {broken[0]} refers to a row of {broken[2]} that is not there; nothing is changed."
        )


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    if not options.get(_ALONE, False):
        connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get(_WRITES, False) else "BEGIN")


def _note_use(_: Any, record: Any) -> None:
    record.info["used_at"] = time.monotonic()
