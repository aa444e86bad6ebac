"""`python -m workers`: run the dispatcher until SIGTERM or SIGINT; a second signal ends it at once."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from types import FrameType

import structlog

from service import logs
from service.settings import Settings
from service.store import schema
from service.store.db import Database
from workers.cluster import RayCluster
from workers.dispatcher import Dispatcher

log = structlog.get_logger("workers")

_SCHEMA_POLL_SECONDS = 0.5


def main() -> int:
    """Connect to the database and to Ray, and dispatch. Returns the exit code."""
    argparse.ArgumentParser(
        prog="python -m workers",
        description="Dispatch the queue to Ray until SIGTERM or SIGINT. Configured by PROLU_ variables alone.",
    ).parse_args()
    settings = Settings()
    logs.configure(level=settings.log_level, style=settings.log_format)
    if settings.ray_address is None:
        sys.stderr.write("No Ray cluster is named. Set PROLU_RAY_ADDRESS to host:port, or use `prolu up`.\n")
        return 2
    ended = threading.Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        if ended.is_set():
            os._exit(1)
        ended.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)

    database = Database(settings.database_url)
    while not ended.is_set() and (shortcoming := schema.shortcoming(database)) is not None:
        log.info("waiting_for_the_schema", why=shortcoming)
        ended.wait(_SCHEMA_POLL_SECONDS)
    if not ended.is_set():
        log.info("connecting_to_ray", address=settings.ray_address)
        cluster = RayCluster(settings.ray_address, settings.ray_namespace)
        log.info("dispatching", holder=settings.holder)
        Dispatcher(database, cluster, settings).run(ended)
    database.dispose()
    log.info("ended")
    return 0


if __name__ == "__main__":
    sys.exit(main())
