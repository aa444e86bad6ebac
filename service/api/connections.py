"""One connection as uvicorn serves it, and what uvicorn leaves open: how long and how large a request's head may be, how
slowly a body may come or an answer be read, how many connections there may be, and how that is said.

    head not whole within 20 s, body within 60 s        408, and the connection ends
    head longer than 64 KB or more than 200 headers     431
    not HTTP                                            400
    more connections than there are descriptors for     503 with Retry-After
    an answer of which nobody reads anything for 60 s   the connection breaks

All as problem+json, since a client should not have to read two kinds of errors.
"""

from __future__ import annotations

import asyncio
import resource
from http import HTTPStatus
from typing import Any

import structlog
from uuid_utils.compat import uuid7
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from service.api.problems import problem

log = structlog.get_logger(__name__)

HEAD_SECONDS = 20.0
BODY_SECONDS = 60.0
UNREAD_SECONDS = 60.0
_MOST_HEAD_BYTES = 65_536
_MOST_HEADERS = 200
# Descriptors that are not for clients: the database, files, what the interpreter holds.
_RESERVED_DESCRIPTORS = 128
# More would only hide a leak.
_MOST_DESCRIPTORS = 65_536


class TooMuch(Exception):
    """The head of a request is longer than is read; the parser gives up with it."""


class Connection(HttpToolsProtocol):
    """One connection. Its times are attributes of the class, so that tests can shorten them."""

    head_seconds = HEAD_SECONDS
    body_seconds = BODY_SECONDS
    unread_seconds = UNREAD_SECONDS

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._head_bytes = 0
        self._in_head = True
        self._refusal: tuple[int, str, str] | None = None
        self._answering: RequestResponseCycle | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > most_connections():
            log.warning("too_many_connections", open=len(self.connections))
            sentence = "The service has as many connections as it can hold; try again."
            self.loop.call_soon(self._refuse, 503, "unavailable", sentence)  # the transport cannot be closed yet
            return
        self._within(self.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._nobody_listens()
        self._within(None)
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._in_head:
            self._head_bytes += len(data)
            if self._deadline is None:  # the first bytes of a further request
                self._within(self.head_seconds)
        super().data_received(data)
        if self._in_head and self._head_bytes > _MOST_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(*_too_much())

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self.headers) >= _MOST_HEADERS:
            self._refusal = _too_much()
            raise TooMuch
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if sum(len(name) + len(value) for name, value in self.headers) + len(self.url) > _MOST_HEAD_BYTES:
            self._refusal = _too_much()
            raise TooMuch
        self._in_head, self._head_bytes = False, 0
        self._within(self.body_seconds)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_head = True
        self._within(None)
        super().on_message_complete()

    def send_400_response(self, _: str) -> None:
        """Answer what the parser gave up on."""
        self._refuse(*(self._refusal or (400, "malformed_request", "What came is not an HTTP request; send HTTP/1.1.")))

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self.loop.call_later(self.unread_seconds, self._give_up)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _within(self, seconds: float | None) -> None:
        """Expect the rest of the head or the body in so many seconds; None: expect nothing."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.loop.call_later(seconds, self._too_slow)

    def _too_slow(self) -> None:
        self._deadline = None
        if self.flow.read_paused:  # it is we who do not read, while an earlier request is answered
            self._within(self.body_seconds)
        elif self._in_head and not self._head_bytes:
            self.transport.close()  # nothing was asked
        elif not self.transport.is_closing():
            what = "head" if self._in_head else "body"
            self._refuse(
                408, "request_timeout", f"The {what} of the request took too long to come; send it again, faster."
            )

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def _nobody_listens(self) -> None:
        """Tell the answer that is being given, which need not be that to the last request that was read."""
        if self._answering is not None and not self._answering.response_complete:
            self._answering.disconnected = True
            self._answering.message_event.set()
        self.pipeline.clear()

    def _give_up(self) -> None:
        log.info("client_does_not_read", path=self.scope["path"] if self.scope else "")
        self._nobody_listens()
        self.transport.abort()

    def _refuse(self, status: int, code: str, sentence: str) -> None:
        """Write a problem past the application, unless it has begun to answer, and end the connection."""
        self._within(None)
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            request_id = uuid7().hex
            log.info("connection_refused", status=status, request_id=request_id)
            retry = {"Retry-After": "5"} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}
            answer = problem(status, code, sentence, request_id, headers={**retry, "Connection": "close"})
            head = b"".join(name + b": " + value + b"\r\n" for name, value in answer.raw_headers)
            line = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
            self.transport.write(line + head + b"\r\n" + bytes(answer.body))
        self.transport.close()


def raise_descriptor_limit() -> None:
    """Take as many descriptors as the system gives without asking: a stream takes one, and 1,024 are soon taken."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def most_connections() -> int:
    """Connections that the descriptors of this process are enough for."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_DESCRIPTORS if soft == resource.RLIM_INFINITY else min(soft, _MOST_DESCRIPTORS)
    return max(16, most - _RESERVED_DESCRIPTORS)


def _too_much() -> tuple[int, str, str]:
    sentence = f"The head of the request has more than {_MOST_HEADERS} headers or {_MOST_HEAD_BYTES} bytes; send less."
    return 431, "head_too_large", sentence
