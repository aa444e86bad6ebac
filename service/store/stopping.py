"""End a statement from outside, whatever it is doing: for whoever asked for much and hung up."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError


class Stopped(Exception):
    """The work was asked to end, and has ended."""


class Stop:
    """Ends the work that runs within `ends`, from any other thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked = False
        self._driver: Any = None

    def now(self) -> None:
        """End it, or what begins later. A statement that the database is at work on is cancelled."""
        with self._lock:
            self._asked = True
            driver = self._driver
            if driver is not None:
                _cancel(driver)

    def check(self) -> None:
        """Raise Stopped once it was asked for."""
        if self._asked:
            raise Stopped

    @contextmanager
    def ends(self, connection: Connection) -> Iterator[None]:
        """Let statements on the connection be ended within the block. Raises Stopped where they were."""
        with self._lock:
            self.check()
            self._driver = connection.connection.driver_connection
        try:
            yield
        except DBAPIError:
            self.check()
            raise
        finally:
            with self._lock:
                self._driver = None


def _cancel(driver: Any) -> None:
    """Tell the driver, which both of ours allow from another thread."""
    if hasattr(driver, "interrupt"):
        driver.interrupt()
    else:
        driver.cancel_safe(timeout=5.0)
