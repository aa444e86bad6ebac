"""Server-sent events: a response that looks for news again and again, until there is an end, or nobody listens.

    id: 1-17            what to come back with, as Last-Event-ID
    event: log
    data: {...}         one line of JSON

The only asynchronous part of the service, since a stream must not hold a thread while it waits. What looks for news is
ordinary code with a session, which runs in one of a few threads of its own: however many clients follow, no more
database connections are taken than there are such threads. (https://html.spec.whatwg.org/multipage/server-sent-events.html)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import anyio
import anyio.to_thread
import structlog
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.domain.errors import Unavailable

log = structlog.get_logger(__name__)

MEDIA_TYPE = "text/event-stream"

_THREADS = 4
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0
_KEEP_ALIVE_SECONDS = 15.0
_LAST_WORD_SECONDS = 1.0


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
    """What a look found."""

    events: Sequence[Event] = ()
    over: bool = False
    """Whether nothing will follow: the stream ends."""


# Remembers how far it has seen, and gives what is new. Called in a thread, never twice at a time. May raise SQLAlchemyError.
Look = Callable[[], News]


class Streams:
    """The streams of one service: how many there may be, the threads that look for their news, and their common end."""

    def __init__(self, *, at_most: int, lifetime_seconds: float) -> None:
        self.lifetime_seconds = lifetime_seconds
        self.threads = anyio.CapacityLimiter(_THREADS)
        self.open = 0
        self._at_most = at_most
        self._closed = anyio.Event()

    @contextmanager
    def place(self) -> Iterator[None]:
        """Take a place while the stream lasts. Raises Unavailable where all are taken."""
        if self.open >= self._at_most:
            raise Unavailable(
                f"{self.open} clients follow something here, which is the most; try again, or poll the list."
            )
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1

    async def pause(self, seconds: float) -> bool:
        """Wait, and say whether the stream goes on: it does not once the service is about to end."""
        with anyio.move_on_after(seconds):
            await self._closed.wait()
        return not self._closed.is_set()

    def close(self) -> None:
        """Have every stream end; clients come back to the next process. For the thread of the event loop."""
        self._closed.set()


class EventStream(Response):
    """An answer that goes on until its `look` says that it is over, the client leaves, the service ends, or its time is up.

    A client that finds the connection closed without an end of the matter comes back with Last-Event-ID.
    """

    media_type = MEDIA_TYPE

    def __init__(self, streams: Streams, look: Look) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._streams = streams
        self._look = look

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        """Answer. Raises Unavailable before anything is sent if too many follow already."""
        with self._streams.place():
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            async with anyio.create_task_group() as listening:
                listening.start_soon(self._until_the_client_leaves, receive, listening.cancel_scope)
                with anyio.move_on_after(self._streams.lifetime_seconds):
                    await self._tell(send)
                with anyio.move_on_after(_LAST_WORD_SECONDS):
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
                listening.cancel_scope.cancel()

    async def _tell(self, send: Send) -> None:
        pause, silence = _FIRST_PAUSE_SECONDS, 0.0
        await _send(send, b"retry: 1000\n\n")
        while True:
            try:
                news = await anyio.to_thread.run_sync(self._look, limiter=self._streams.threads)
            except SQLAlchemyError as error:
                log.warning("stream_broken", error=type(error).__name__)
                return
            if news.events:
                await _send(send, b"".join(event.encode() for event in news.events))
                pause, silence = _FIRST_PAUSE_SECONDS, 0.0
            elif silence >= _KEEP_ALIVE_SECONDS:
                await _send(send, b": still here\n\n")
                silence = 0.0
            if news.over or not await self._streams.pause(pause):
                return
            silence += pause
            pause = min(_LONGEST_PAUSE_SECONDS, 1.5 * pause)

    async def _until_the_client_leaves(self, receive: Receive, telling: anyio.CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        telling.cancel()


async def _send(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})
