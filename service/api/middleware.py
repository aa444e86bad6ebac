"""Around every request: an identity, a limit to the body, a line in the log, and an answer to what nobody caught.

Plain ASGI, since Starlette's BaseHTTPMiddleware buffers streams.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import structlog
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uuid_utils.compat import uuid7

from service.api.problems import REQUEST_ID, for_service_error, problem
from service.domain.errors import TooLarge, WrongMediaType

log = structlog.get_logger(__name__)

_ACCEPTABLE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_QUIET_PATHS = frozenset({"/livez", "/readyz"})
# What a browser may do with an answer that it was led to: nothing, unless the answer says more itself.
_CAREFUL = (
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
_REQUEST_ID = REQUEST_ID.lower().encode()


class Surround:
    """The outermost layer that is ours."""

    def __init__(self, app: ASGIApp, *, max_body_bytes: int, answered: Callable[[Scope, int, float], None]) -> None:
        """`answered` hears the status of each request and the seconds until its answer began."""
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._answered = answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _identity(scope)
        scope["prolu.request_id"] = request_id
        began = time.perf_counter()
        answer: dict[str, Any] = {"status": None}

        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer["status"] = message["status"]
                self._answered(scope, message["status"], time.perf_counter() - began)
                headers = [(name, value) for name, value in message.get("headers", []) if name.lower() != _REQUEST_ID]
                said = {name.lower() for name, _ in headers}
                careful = [pair for pair in _CAREFUL if pair[0] not in said]
                message = {**message, "headers": [*headers, *careful, (_REQUEST_ID, request_id.encode())]}
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._answer(scope, receive, send_marked, request_id)
            except Exception:
                log.exception("request_failed", method=scope["method"], path=scope["path"])
                if answer["status"] is not None:
                    raise  # half an answer is out: the connection must break, so that it is not taken for a whole
                sentence = "Something went wrong that should not; it is in the service's log under this request id."
                await problem(500, "internal_error", sentence, request_id)(scope, receive, send_marked)
            finally:
                tell = log.debug if scope["path"] in _QUIET_PATHS else log.info
                milliseconds = round((time.perf_counter() - began) * 1000, 1)
                tell("request", method=scope["method"], path=scope["path"], status=answer["status"], ms=milliseconds)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        """Pass the request on, unless its body is encoded, or is, or turns out to be, longer than is read."""
        headers = dict(scope["headers"])
        coding = headers.get(b"content-encoding", b"").decode("latin-1").strip()
        if coding.lower() not in ("", "identity"):
            refusal = WrongMediaType(
                f"The Content-Encoding of the body is {coding[:80]!r}; send it as it is, without any."
            )
            await for_service_error(refusal, request_id)(scope, receive, send)
            return
        announced = headers.get(b"content-length", b"0")
        if announced.isdigit() and int(announced[:18]) > self._max_body_bytes:
            await for_service_error(self._too_large(), request_id)(scope, receive, send)
            return
        read = 0

        async def receive_counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._max_body_bytes:
                # FastAPI lets this exception through while it reads a body, and turns any other into a 400.
                raise HTTPException(TooLarge.status, self._too_large().sentence)
            return message

        await self._app(scope, receive_counted, send)

    def _too_large(self) -> TooLarge:
        return TooLarge(
            f"The body is longer than {self._max_body_bytes} bytes; send a shorter one (a sweep writes a grid, not its points)."
        )


def _identity(scope: Scope) -> str:
    """The client's X-Request-Id if it is short and plain, or a new one."""
    given = dict(scope["headers"]).get(_REQUEST_ID, b"").decode("latin-1")
    return given if _ACCEPTABLE_ID.fullmatch(given) else uuid7().hex
