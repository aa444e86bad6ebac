"""Server-sent events: a response that tells what is new for as long as there is somebody who listens.

    id: 1-17            what to come back with, as Last-Event-ID
    event: log
    data: {...}         one line of JSON

The only asynchronous part of the service, since a stream must not hold a thread while it waits; see `service.api.following`
for what wakes it. (https://html.spec.whatwg.org/multipage/server-sent-events.html)
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import anyio
import structlog
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.api.following import Event, Source, Streams, Topic

log = structlog.get_logger(__name__)

MEDIA_TYPE = "text/event-stream"

_KEEP_ALIVE_SECONDS = 15.0
_LAST_WORD_SECONDS = 1.0


class EventStream(Response):
    """An answer that goes on until its source says that it is over, the client leaves, the service ends, or its time is up.

    A client that finds the connection closed without an end of the matter comes back with Last-Event-ID. `first` goes
    out before anything that is looked for.
    """

    media_type = MEDIA_TYPE

    def __init__(self, streams: Streams, source: Source, place: Hashable, *, first: Sequence[Event] = ()) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._streams = streams
        self._source = source
        self._place = place
        self._first = first

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        """Answer. Raises Unavailable before anything is sent if too many follow already."""
        with self._streams.place(self._source) as topic:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            async with anyio.create_task_group() as listening:
                listening.start_soon(self._until_the_client_leaves, receive, listening.cancel_scope)
                with anyio.move_on_after(self._streams.lifetime_seconds):
                    await self._tell(topic, send)
                with anyio.move_on_after(_LAST_WORD_SECONDS):
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
                listening.cancel_scope.cancel()

    async def _tell(self, topic: Topic, send: Send) -> None:
        await _send(send, b"".join([b"retry: 1000\n\n", *(event.encode() for event in self._first)]))
        place = self._place
        while self._streams.watched:
            turn = topic.turn
            try:
                told = await self._streams.news(topic, self._source, place)
            except SQLAlchemyError as error:
                log.warning("stream_broken", error=type(error).__name__)
                return
            place = told.place
            if told.body:
                await _send(send, told.body)
            if told.over:
                return
            if not told.body:
                await self._wait(topic, turn, send)

    async def _wait(self, topic: Topic, turn: int, send: Send) -> None:
        """Return when there may be news; say now and then that one is still here, so that nobody takes silence for an end."""
        while True:
            with anyio.move_on_after(_KEEP_ALIVE_SECONDS):
                await topic.after(turn)
                return
            await _send(send, b": still here\n\n")

    async def _until_the_client_leaves(self, receive: Receive, telling: anyio.CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        telling.cancel()


async def _send(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})
