"""Connections to PostgreSQL that give up a server which takes what it is sent and does not answer; knows no table.

A server that is stopped, or hangs on its disk, keeps its connections: its kernel confirms every packet, so no timeout of
TCP ends the wait. Only the client can, by a bound on each round trip. The server gets the same bound for its side, so
that a statement or lock which the client has given up does not stay with a session that nobody hears.
"""

from __future__ import annotations

import time
from typing import Any

import psycopg
from psycopg.abc import RV, PQGen
from sqlalchemy import Engine, event

# A server that answers slowly ends the statement itself, a little before the connection would be given up.
_SERVER_SHARE = 0.9


class PatientConnection(psycopg.Connection[Any]):
    """A connection that is closed, and raises OperationalError, where an answer takes longer than `patience_seconds`."""

    patience_seconds: float | None = None

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Wait for one round trip, as psycopg does, within the bound."""
        if timeout is not None or self.patience_seconds is None:
            return super().wait(gen, interval, timeout)
        began = time.monotonic()
        try:
            return super().wait(gen, interval, self.patience_seconds)
        except psycopg.OperationalError:
            if time.monotonic() - began < self.patience_seconds:
                raise  # it was the server, or the network, that ended it
            self.close()  # what the server would still say belongs to no question
            raise psycopg.OperationalError(
                f"PostgreSQL has not answered for {self.patience_seconds:g} s; the connection is given up."
            ) from None


def be_patient(engine: Engine, seconds: float) -> None:
    """Have an engine's connections wait no longer than this for an answer, and the server no longer for its side of them.

    The server ends a statement that takes as long, and a transaction in which nothing is asked for as long, and notices
    within half a minute that the network to the client is gone: its locks would stand for two hours else.
    """

    def connect(_: Any, __: Any, args: Any, options: dict[str, Any]) -> PatientConnection:
        connection = PatientConnection.connect(*args, **options)
        connection.patience_seconds = seconds
        return connection

    def limit_server(connection: PatientConnection, _: Any) -> None:
        connection.autocommit = True
        connection.execute(_limits(seconds))
        connection.autocommit = False

    event.listen(engine, "do_connect", connect)
    event.listen(engine, "connect", limit_server)


def _limits(seconds: float) -> bytes:
    milliseconds = max(1, round(seconds * 1_000))
    limits = {
        "statement_timeout": round(milliseconds * _SERVER_SHARE) or 1,
        "idle_in_transaction_session_timeout": milliseconds,
        "tcp_keepalives_idle": 10,
        "tcp_keepalives_interval": 5,
        "tcp_keepalives_count": 3,
    }
    return "; ".join(f"SET {name} = {value}" for name, value in limits.items()).encode()
