"""One request at a time to the service: retries, problems turned into exceptions, pages, streams.

Knows HTTP and the wire format; the resources know paths. `transport` is the seam by which tests put faults between.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar
from uuid import UUID, uuid4

import httpx
from pydantic import BaseModel, ValidationError

from prolu import __version__
from prolu.client.errors import ConnectionFailed, UnreadableAnswer, error_for
from prolu.client.locate import Place
from prolu.client.wire import Page, Problem
from prolu.spec import Mistake, SpecError
from prolu.spec.mistakes import kind_of

Model = TypeVar("Model", bound=BaseModel)
Params = Mapping[str, str | int | Sequence[str] | None]

# Who reads can ask again; what was to be submitted, or is followed, is worth the wait until a service that was killed is back.
ATTEMPTS, ATTEMPTS_TO_WRITE = 4, 7
_FIRST_DELAY_SECONDS = 0.25
_LONGEST_WAIT_SECONDS = 20.0
_PAGE = 100
# What an S3 says of an address that it does not take, as XML.
_OF_A_REFUSAL = (re.compile(r"<Code>([^<]{1,100})</Code>"), re.compile(r"<Message>([^<]{1,200})</Message>"))
_LONGEST_REFUSAL_BYTES = 4_096
# What a request fails with before anything of it has left.
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol, httpx.ProxyError)
_PASSING = frozenset({httpx.codes.BAD_GATEWAY, httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.TOO_MANY_REQUESTS})


class Http:
    """A connection to one service.

    GETs, PATCHes and DELETEs are tried again after connection errors, 429, 502 and 503; so are POSTs, since each carries an
    Idempotency-Key by which the service knows a repetition. What a repeated DELETE
    does not find is deleted. The delay doubles from a quarter of a second, or is what
    Retry-After asks for; all delays of one request together take at most twenty seconds. `on_wait` hears of each before it:
    its seconds, and why.
    """

    def __init__(
        self,
        place: Place,
        *,
        transport: httpx.BaseTransport | None = None,
        timeout_seconds: float = 30.0,
        sleep: Callable[[float], None] = time.sleep,
        on_wait: Callable[[float, str], None] = lambda _seconds, _why: None,
    ) -> None:
        headers = {"User-Agent": f"prolu/{__version__}"}
        if place.token:
            headers["Authorization"] = f"Bearer {place.token}"
        self.place = place
        self._sleep = sleep
        self._on_wait = on_wait
        self._followers = 0
        _check_address(place)
        self._http = httpx.Client(
            base_url=place.url, headers=headers, timeout=timeout_seconds, transport=transport, follow_redirects=False
        )

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def get(self, path: str, model: type[Model], params: Params | None = None) -> Model:
        """GET one thing."""
        return _read(self._send("GET", path, params=params), model)

    def tagged(self, path: str, model: type[Model]) -> tuple[Model, str | None]:
        """GET one thing and its ETag, by which a PATCH tells that nobody has changed it since."""
        response = self._send("GET", path)
        return _read(response, model), response.headers.get("ETag")

    def post(
        self, path: str, model: type[Model], body: BaseModel | None = None, *, timeout_seconds: float | None = None
    ) -> Model:
        """POST a body (or a verb without one) and read the answer, for which `timeout_seconds` may give it more time."""
        content = None if body is None else body.model_dump_json()
        return _read(self._send("POST", path, content=content, timeout_seconds=timeout_seconds), model)

    def delete(self, path: str) -> None:
        """DELETE one thing."""
        self._send("DELETE", path)

    def patch(self, path: str, model: type[Model], body: BaseModel, *, if_match: str | None = None) -> Model:
        """PATCH what the body was given, null too, and read the answer."""
        headers = None if if_match is None else {"If-Match": if_match}
        return _read(
            self._send("PATCH", path, content=body.model_dump_json(exclude_unset=True), headers=headers), model
        )

    def pages(
        self, path: str, item: type[Model], params: Params | None = None, limit: int | None = None
    ) -> Iterator[Model]:
        """Every item of a list, or the first `limit`, page by page as they are asked for."""
        page_type = Page[item]  # type: ignore[valid-type]
        cursor: str | None = None
        given = 0
        while limit is None or given < limit:
            size = _PAGE if limit is None else min(_PAGE, limit - given)
            page = self.get(path, page_type, {**(params or {}), "limit": size, "cursor": cursor})
            yield from page.items
            given += len(page.items)
            cursor = page.next_cursor
            if cursor is None:
                return

    @contextmanager
    def patiently(self) -> Iterator[None]:
        """Wait as long for answers within the block as if something were submitted: for whoever follows what takes hours."""
        self._followers += 1
        try:
            yield
        finally:
            self._followers -= 1

    @contextmanager
    def stream(
        self, path: str, params: Params | None = None, *, headers: Mapping[str, str] | None = None
    ) -> Iterator[httpx.Response]:
        """GET a body too long for memory, where the service sends us for it. Raises ConnectionFailed too if it breaks off."""
        response = self._send("GET", path, params=params, headers=headers, stream=True)
        if response.has_redirect_location:
            response = self._elsewhere(response, headers or {})
        with self._read(response, path):
            yield response

    @contextmanager
    def stream_answer(self, path: str, body: BaseModel, params: Params | None = None) -> Iterator[httpx.Response]:
        """POST a question whose answer is too long for memory. Raises ConnectionFailed too if it breaks off."""
        response = self._send("POST", path, params=params, content=body.model_dump_json(), stream=True)
        with self._read(response, path):
            yield response

    @contextmanager
    def _read(self, response: httpx.Response, path: str) -> Iterator[None]:
        """Close the response in the end; say what was being read where it breaks off. Raises ConnectionFailed."""
        try:
            yield
        except httpx.TransportError as error:
            raise ConnectionFailed(
                f"The connection to {self.place.url} broke off in the middle of {path} ({error}); try again."
            ) from error
        finally:
            response.close()

    def _send(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        content: str | None = None,
        headers: Mapping[str, str] | None = None,
        stream: bool = False,
        timeout_seconds: float | None = None,
    ) -> httpx.Response:
        headers = dict(headers or {})
        if method == "POST":
            headers["Idempotency-Key"] = str(uuid4())
        if content is not None:
            headers["Content-Type"] = "application/json"
        known = {name: value for name, value in (params or {}).items() if value is not None}
        timeout = httpx.USE_CLIENT_DEFAULT if timeout_seconds is None else timeout_seconds
        request = self._http.build_request(
            method, path, params=known, content=content, headers=headers, timeout=timeout
        )
        hurried = method == "GET" and not self._followers
        left, attempts = _LONGEST_WAIT_SECONDS, ATTEMPTS if hurried else ATTEMPTS_TO_WRITE
        may_be_done = False  # by an attempt whose answer was lost
        for attempt in range(1, attempts + 1):
            last = attempt == attempts or left <= 0
            try:
                response = self._http.send(request, stream=stream)
                if not response.is_success:
                    response.read()
            except httpx.TransportError as error:
                if last:
                    raise self._unreachable(error) from error
                may_be_done = may_be_done or not isinstance(error, _NEVER_SENT)
                seconds, why = _backoff(attempt), f"no service answers: {_said(error)}"
            else:
                if response.is_success or (stream and response.has_redirect_location):
                    return response
                if method == "DELETE" and may_be_done and response.status_code == httpx.codes.NOT_FOUND:
                    return response  # gone by our own doing: the answer that said so was lost
                may_be_done = may_be_done or response.status_code == httpx.codes.BAD_GATEWAY
                problem = _problem(response)
                if response.status_code not in _PASSING or last:
                    raise error_for(problem)
                seconds = _wait_asked_for(response) or _backoff(attempt)
                why = f"{self.place.url} answers {response.status_code}: {problem.detail}"
            seconds = min(seconds, left)
            left -= seconds
            self._on_wait(seconds, why)
            self._sleep(seconds)
        raise AssertionError("the last attempt returns or raises")

    def _elsewhere(self, response: httpx.Response, headers: Mapping[str, str]) -> httpx.Response:
        """GET what the service has signed an address for. The request is one of its own: our token is nobody else's business."""
        place = httpx.URL(response.headers["Location"])
        if response.request.url.scheme == "https" != place.scheme:
            raise ConnectionFailed(
                f"{self.place.url} sends us on to {place.host} without encryption; tell its operator."
            )
        wanted = {name: value for name, value in headers.items() if name != "If-Range"}  # our ETag is not the store's
        try:
            found = self._http.send(httpx.Request("GET", place, headers=wanted), stream=True)
            said = "" if found.is_success else _said_by_the_store(found)
        except httpx.TransportError as error:
            raise ConnectionFailed(
                f"{place.host}, where {self.place.url} sends us, does not answer: {_said(error)}."
            ) from error
        if not found.is_success:
            raise ConnectionFailed(
                f"{place.host}, where {self.place.url} sends us, answers {found.status_code} {found.reason_phrase}"
                f"{said}; try again."
            )
        return found

    def _unreachable(self, error: httpx.TransportError) -> ConnectionFailed:
        return ConnectionFailed(
            f"No service answers at {self.place.url} (from {self.place.source}): {_said(error)}; "
            "start it with `prolu up`, or set PROLU_URL to where it runs."
        )


def path_id(value: UUID | str) -> str:
    """An id as part of a path. Raises SpecError, a ValueError, for what is not a UUID, so that no id can change the path."""
    if not isinstance(value, UUID | str):
        raise SpecError(
            [Mistake((), f"An id is a UUID or its text; got {kind_of(value)}: give the `.id` of what is meant.")]
        )
    try:
        return str(UUID(str(value)))
    except ValueError:
        raise SpecError(
            [
                Mistake(
                    (),
                    f"{str(value)[:80]!r} is no whole id; give one, such as `client.runs.list()[0].id`: `last` and parts of "
                    "ids are for the prolu command.",
                )
            ]
        ) from None


def _check_address(place: Place) -> None:
    try:
        address = httpx.URL(place.url)
    except httpx.InvalidURL as error:
        raise ConnectionFailed(f"{place.url!r} (from {place.source}) is not an address: {error}.") from None
    if address.scheme not in ("http", "https") or not address.host:
        raise ConnectionFailed(
            f"{place.url!r} (from {place.source}) is not an address; write it like http://127.0.0.1:8321."
        )


def _read(response: httpx.Response, model: type[Model]) -> Model:
    try:
        return model.model_validate_json(response.content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the body"
        raise UnreadableAnswer(
            f"The service's answer to {response.request.method} {response.request.url.path} is not what prolu {__version__} "
            f"expects ({where}: {first['msg']}); use a client of the service's version (`prolu version`)."
        ) from error


def _said(error: httpx.TransportError) -> str:
    return str(error) or type(error).__name__


def _said_by_the_store(response: httpx.Response) -> str:
    """What S3 says is wrong, in brackets, from the beginning of its answer; nothing where it is not in S3's words."""
    beginning = b""
    with closing(response):
        for piece in response.iter_bytes(_LONGEST_REFUSAL_BYTES):
            beginning += piece
            if len(beginning) >= _LONGEST_REFUSAL_BYTES:
                break
    text = beginning[:_LONGEST_REFUSAL_BYTES].decode(errors="replace")
    found = [match[1] for match in (pattern.search(text) for pattern in _OF_A_REFUSAL) if match]
    return f" ({': '.join(found)})" if found else ""


def _problem(response: httpx.Response) -> Problem:
    try:
        return Problem.model_validate_json(response.content)
    except ValidationError:
        text = " ".join(response.text.split())[:200]
        return Problem(
            title=response.reason_phrase,
            status=response.status_code,
            detail=f"{response.request.url} answered {response.status_code} {response.reason_phrase}: {text or 'no body'}",
            code="not_a_problem",
            request_id=response.headers.get("X-Request-Id", ""),
        )


def _backoff(attempt: int) -> float:
    """Seconds before the next attempt: doubling, and jittered by a fifth so that clients do not return in step."""
    return _FIRST_DELAY_SECONDS * 2.0 ** (attempt - 1) * random.uniform(0.8, 1.2)  # noqa: S311 no secret


def _wait_asked_for(response: httpx.Response) -> float | None:
    """What Retry-After asks for, in seconds or as a date; None if it is absent or unreadable."""
    asked = response.headers.get("Retry-After")
    if asked is None:
        return None
    try:
        seconds = (
            float(asked) if asked.isdigit() else (parsedate_to_datetime(asked) - datetime.now(UTC)).total_seconds()
        )
    except (ValueError, TypeError):
        return None
    return max(seconds, 0.0)
