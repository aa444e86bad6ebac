"""`python -m workers`: run the dispatcher until SIGTERM or SIGINT; a second signal ends it at once."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from types import FrameType

import structlog
from sqlalchemy.exc import DBAPIError

from service import logs
from service.garbage import collect_rarely
from service.settings import read_settings
from service.store import schema
from service.store.db import Database
from workers.cluster import RayCluster
from workers.dispatcher import Dispatcher
from workers.metrics import DispatcherMetrics

log = structlog.get_logger("workers")

_SCHEMA_POLL_SECONDS = 1.0


def main() -> int:
    """Connect to the database and to Ray, and dispatch. Returns the exit code: 0, or 2 where a setting is wrong."""
    argparse.ArgumentParser(
        prog="python -m workers",
        description="Dispatch the queue to Ray until SIGTERM or SIGINT. Configured by PROLU_ variables alone.",
    ).parse_args()
    try:
        settings = read_settings()
        database = Database(settings.database_url, patience_seconds=settings.database_patience_seconds)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    logs.configure(level=settings.log_level, style=settings.log_format)
    if settings.ray_address is None:
        sys.stderr.write("No Ray cluster is named. Set PROLU_RAY_ADDRESS to host:port, or use `prolu up`.\n")
        return 2
    ended = threading.Event()
    _end_on_signals(ended)
    _await_schema(database, ended)
    if not ended.is_set():
        log.info("connecting_to_ray", address=settings.ray_address)
        cluster = RayCluster(settings.ray_address, settings.ray_namespace)
        _end_on_signals(ended)  # again, since Ray has put its own handlers in their place
        metrics = DispatcherMetrics()
        with metrics.served(settings.metrics_host, settings.metrics_port) as port:
            log.info("dispatching", holder=settings.holder, metrics_port=port)
            collect_rarely()
            Dispatcher(database, cluster, settings, metrics=metrics).run(ended)
    database.dispose()
    log.info("ended")
    return 0


def _end_on_signals(ended: threading.Event) -> None:
    def end(_signal: int, _frame: FrameType | None) -> None:
        if ended.is_set():
            os._exit(1)
        ended.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)


def _await_schema(database: Database, ended: threading.Event) -> None:
    """Wait until the database can be reached and has the tables of this version."""
    while not ended.is_set():
        try:
            shortcoming = schema.shortcoming(database)
        except DBAPIError as error:
            shortcoming = f"the database is out of reach: {error.orig}"
        if shortcoming is None:
            return
        log.info("waiting_for_the_database", why=shortcoming)
        ended.wait(_SCHEMA_POLL_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
