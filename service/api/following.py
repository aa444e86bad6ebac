"""Who follows what: one watch over the database for all streams of a process, which wakes those that something is new for.

A stream that waits costs a socket, two tasks and no thread, and asks nothing: only the watch asks, four times a second, by
one cheap statement, as long as anybody follows. Streams that are woken at the same place look once for all of them.

    watch (one) --changed--> topic (one per run, per sweep, per filter of events) --turn--> streams (any number)
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, Protocol
from uuid import UUID

import anyio
import anyio.to_thread
import structlog
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError

from service.domain.errors import Unavailable
from service.store.changes import Changed, Changes
from service.store.db import Database

log = structlog.get_logger(__name__)

# However many clients follow, no more database connections are taken than these threads and the watch take.
_THREADS = 4
_PULSE_SECONDS = 0.25
# Places of one topic whose news are kept until the next turn: those who wait are all at the same, those who catch up are not.
_SHARED_PLACES = 64


@dataclass(frozen=True)
class Event:
    """One message; without `data` it only tells the client what to come back with."""

    id: str | None
    kind: str | None = None
    data: BaseModel | None = None

    def encode(self) -> bytes:
        """Write it as the protocol wants it."""
        lines = [] if self.id is None else [f"id: {self.id}"]
        if self.data is not None:
            lines += [f"event: {self.kind}", f"data: {self.data.model_dump_json()}"]
        return ("\n".join(lines) + "\n\n").encode()


@dataclass(frozen=True)
class News:
    """What a look found after a place: events, the place after them, and whether nothing will ever follow."""

    place: Hashable
    events: Sequence[Event] = ()
    over: bool = False


class Source(Protocol):
    """What is followed. Equal sources have equal news at equal places."""

    def __hash__(self) -> int: ...

    def topic(self) -> tuple[Literal["run", "sweep", "events"], UUID | None]:
        """Name what it hears of: the reports of a run, or of a sweep's runs; or events, of a run or sweep or all (None)."""

    def look(self, place: Hashable) -> News:
        """Give what is new after a place. Called in a thread. May raise SQLAlchemyError."""


@dataclass(frozen=True)
class Told:
    """News as they go out, made once for all who are at the same place."""

    body: bytes
    place: Hashable
    over: bool


@dataclass
class Topic:
    """Something that streams wait for. Its turn counts how often there may have been news."""

    followers: int = 0
    turn: int = 0
    shared: dict[tuple[Source, Hashable], asyncio.Task[Told]] = field(default_factory=dict)
    _next: asyncio.Event = field(default_factory=asyncio.Event)

    def stir(self) -> None:
        """Wake everybody: there may be news."""
        self.turn += 1
        self.shared.clear()
        self._next.set()
        self._next = asyncio.Event()

    async def after(self, turn: int) -> None:
        """Return once the turn is later than `turn`."""
        while self.turn <= turn:
            await self._next.wait()


class Streams:
    """The streams of one service: how many there may be, what wakes them, and their common end."""

    def __init__(self, database: Database, changes: Changes, *, at_most: int, lifetime_seconds: float) -> None:
        self.lifetime_seconds = lifetime_seconds
        self.open = 0
        self.closed = False
        self._database = database
        self._changes = changes
        self._at_most = at_most
        self._threads = anyio.CapacityLimiter(_THREADS)
        self._topics: dict[tuple[str, UUID | None], Topic] = {}
        self._watch: asyncio.Task[None] | None = None

    @contextmanager
    def place(self, source: Source) -> Iterator[Topic]:
        """Take a place while the stream lasts, and wait by the topic. Raises Unavailable where all are taken."""
        if self.open >= self._at_most:
            raise Unavailable(
                f"{self.open} clients follow something here, which is the most; try again, or poll the list."
            )
        name = source.topic()
        topic = self._topics.setdefault(name, Topic())
        self.open += 1
        topic.followers += 1
        if self._watch is None or self._watch.done():
            self._watch = asyncio.get_running_loop().create_task(self._watch_the_database())
        try:
            yield topic
        finally:
            self.open -= 1
            topic.followers -= 1
            if topic.followers == 0:
                self._topics.pop(name, None)
            if self.open == 0 and self._watch is not None:
                self._watch.cancel()
                self._watch = None  # it is not over yet, and must not be taken for one that watches

    @property
    def watched(self) -> bool:
        """Whether news are heard of; where not, the database is out of reach or the service ends, and so do the streams."""
        return not self.closed and self._watch is not None and not self._watch.done()

    async def news(self, topic: Topic, source: Source, place: Hashable) -> Told:
        """Look once for all who are at this place in this turn. Raises SQLAlchemyError."""
        looking = topic.shared.get((source, place))
        if looking is None:
            looking = asyncio.get_running_loop().create_task(self._look(source, place))
            looking.add_done_callback(lambda done: done.cancelled() or done.exception())
            if len(topic.shared) < _SHARED_PLACES:
                topic.shared[source, place] = looking
        return await asyncio.shield(looking)

    def close(self) -> None:
        """Have every stream end; clients come back to the next process. For the thread of the event loop."""
        self.closed = True
        self._stir_all()

    async def _look(self, source: Source, place: Hashable) -> Told:
        def look() -> Told:
            found = source.look(place)
            return Told(b"".join(event.encode() for event in found.events), found.place, found.over)

        return await anyio.to_thread.run_sync(look, limiter=self._threads)

    async def _watch_the_database(self) -> None:
        try:
            with self._database.look() as connection:
                while True:
                    runs, sweeps = self._followed("run"), self._followed("sweep")
                    changed = await anyio.to_thread.run_sync(
                        self._changes.since, connection, runs, sweeps, limiter=self._threads
                    )
                    self._stir(changed)
                    await asyncio.sleep(_PULSE_SECONDS)
        except SQLAlchemyError as error:
            log.warning("streams_broken", error=type(error).__name__)
        except Exception:  # nobody awaits this task, and all streams end with it
            log.exception("streams_broken")
        finally:
            asyncio.get_running_loop().call_soon(self._stir_all)

    def _followed(self, kind: str) -> set[UUID]:
        return {name for of, name in self._topics if of == kind and name is not None}

    def _stir(self, changed: Changed) -> None:
        for (kind, name), topic in self._topics.items():
            if kind in ("run", "sweep"):
                stirred = name in changed.reported
            else:
                stirred = changed.events and (name is None or changed.events_of is None or name in changed.events_of)
            if stirred:
                topic.stir()

    def _stir_all(self) -> None:
        for topic in self._topics.values():
            topic.stir()
