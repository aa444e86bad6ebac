"""The peer: procrastinate's own async worker on its own connector, with the settings that its documentation recommends.

Concurrent jobs in one worker share a pool of connections; a job is fetched, run and finished in two autocommitted
statements, and PostgreSQL writes one fsync for the commits that wait for it together.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from procrastinate import App, PsycopgConnector

_AT_ONCE = 1000
_SUCCEEDED = "SELECT count(*) AS rows FROM procrastinate_jobs WHERE status = 'succeeded'"
_WORKERS = "SELECT count(*) AS rows FROM procrastinate_workers"


@dataclass(frozen=True)
class Peer:
    """A database with procrastinate's schema: `workers` beside each other, each with `concurrency` jobs at a time."""

    url: str
    workers: int
    concurrency: int

    def prepare(self) -> None:
        """Make its tables."""

        async def make() -> None:
            async with self._app().open_async() as app:
                await app.schema_manager.apply_schema_async()

        asyncio.run(make())

    def defer(self, count: int) -> float:
        """Put `count` jobs into its queue, many with each statement; return the seconds."""
        return asyncio.run(self._defer(count))

    def work_off(self) -> float:
        """Claim, run and finish every job that waits; return the seconds, without starting and ending the worker's process."""
        return asyncio.run(self._work_off())

    def defer_one_by_one(self, count: int) -> float:
        """Put `count` jobs into its queue, each with a statement of its own, `concurrency` at a time; return the seconds."""
        return asyncio.run(self._defer_one_by_one(count))

    def work_until(self, count: int, ready: threading.Event, done: threading.Event) -> None:
        """Work in this process, which is to be ended from outside; tell when the workers are there and `count` jobs finished."""
        asyncio.run(self._work_until(count, ready, done))

    def finished(self) -> int:
        """How many jobs have succeeded."""

        async def count() -> int:
            async with (app := self._app()).open_async():
                return await self._count(app, _SUCCEEDED)

        return asyncio.run(count())

    async def _defer(self, count: int) -> float:
        async with (app := self._app()).open_async():
            began = time.perf_counter()
            for first in range(0, count, _AT_ONCE):
                names: list[dict[str, Any]] = [
                    {"number": number} for number in range(first, min(count, first + _AT_ONCE))
                ]
                await app.configure_task("no_op").batch_defer_async(*names)
            return time.perf_counter() - began

    async def _defer_one_by_one(self, count: int) -> float:
        async with (app := self._app()).open_async():
            numbers = iter(range(count))
            task = app.configure_task("no_op")

            async def some() -> None:
                for number in numbers:
                    await task.defer_async(number=number)

            began = time.perf_counter()
            await asyncio.gather(*(some() for _ in range(self.concurrency)))
            return time.perf_counter() - began

    async def _work_off(self) -> float:
        # It logs two lines for each job, ours logs none here: without them it is faster.
        logging.getLogger("procrastinate").setLevel(logging.WARNING)
        async with (app := self._app()).open_async():
            began = time.perf_counter()
            await asyncio.gather(*self._workers(app, wait=False))
            return time.perf_counter() - began

    async def _work_until(self, count: int, ready: threading.Event, done: threading.Event) -> None:
        logging.getLogger("procrastinate").setLevel(logging.WARNING)
        async with (app := self._app()).open_async():
            before = await self._count(app, _WORKERS)
            working = asyncio.gather(*self._workers(app, wait=True))
            while await self._count(app, _WORKERS) < before + self.workers:
                await asyncio.sleep(0.02)
            ready.set()
            while await self._count(app, _SUCCEEDED) < count:
                await asyncio.sleep(0.02)
            done.set()
            await working

    async def _count(self, app: App, query: str) -> int:
        row = await app.connector.execute_query_one_async(query)
        return int(row["rows"])

    def _workers(self, app: App, *, wait: bool) -> list[Coroutine[Any, Any, None]]:
        return [
            app.run_worker_async(
                name=f"worker {number}",
                wait=wait,
                concurrency=self.concurrency,
                listen_notify=wait,
                install_signal_handlers=False,
            )
            for number in range(self.workers)
        ]

    def _app(self) -> App:
        size = self.workers * (self.concurrency + 1) + 1
        app = App(connector=PsycopgConnector(conninfo=self.url, min_size=size, max_size=size))

        @app.task(name="no_op")
        async def no_op(number: int) -> None:
            """The body that both sides run: none."""

        return app
