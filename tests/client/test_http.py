"""Requests are tried again where that is safe and sensible, and every answer becomes a value or a named error."""

import json
from collections.abc import Callable, Iterator

import httpx
import pytest

from prolu.client.errors import (
    Conflict,
    ConnectionFailed,
    Forbidden,
    Invalid,
    NotFound,
    ServiceFailed,
    TooManyRequests,
    Unauthorized,
    UnreadableAnswer,
)
from prolu.client.http import ATTEMPTS, ATTEMPTS_TO_WRITE, Http, path_id
from prolu.client.locate import Place
from prolu.client.wire import VersionRead

Answer = Callable[[httpx.Request], httpx.Response]

VERSION = {"version": "1", "api": "v1", "database": "sqlite"}


class Scripted(httpx.BaseTransport):
    """A transport that plays a script and remembers the requests."""

    def __init__(self, *script: httpx.Response | Exception) -> None:
        self.script = list(script)
        self.requests: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        step = self.script.pop(0)
        if isinstance(step, Exception):
            raise step
        return step


class Naps:
    """Sleeps in no time and remembers how long it would have been."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def connect(
    *script: httpx.Response | Exception, on_wait: Callable[[float, str], None] = lambda _seconds, _why: None
) -> tuple[Http, Scripted, Naps]:
    transport, naps = Scripted(*script), Naps()
    place = Place("http://service", "secret", "a test")
    return Http(place, transport=transport, sleep=naps, on_wait=on_wait), transport, naps


def good() -> httpx.Response:
    return httpx.Response(200, json=VERSION)


def problem(status: int, *, retry: str | None = None, **more: object) -> httpx.Response:
    body = {"title": "T", "status": status, "detail": "What happened.", "code": "c", "request_id": "r", **more}
    return httpx.Response(status, json=body, headers={} if retry is None else {"Retry-After": retry})


@pytest.mark.parametrize("fault", [httpx.ConnectError("refused"), httpx.ReadError("reset"), httpx.ReadTimeout("slow")])
def test_a_get_is_tried_again_after_a_broken_connection(fault: Exception) -> None:
    http, transport, naps = connect(fault, fault, good())
    assert http.get("/v1/version", VersionRead).version == "1"
    assert len(transport.requests) == 3
    assert naps.seconds[0] < naps.seconds[1]


@pytest.mark.parametrize("status", [429, 502, 503])
def test_a_get_is_tried_again_after_an_answer_that_passes(status: int) -> None:
    http, transport, _ = connect(httpx.Response(status), good())
    assert http.get("/v1/version", VersionRead).version == "1"
    assert len(transport.requests) == 2


def test_a_post_that_is_tried_again_carries_the_same_idempotency_key_and_body() -> None:
    http, transport, _ = connect(httpx.ReadError("reset"), httpx.Response(503), good(), good())
    body = VersionRead(version="1", api="v1", database="sqlite")
    http.post("/v1/runs", VersionRead, body)
    http.post("/v1/runs", VersionRead, body)
    keys = [request.headers["Idempotency-Key"] for request in transport.requests]
    assert keys[0] == keys[1] == keys[2]
    assert keys[3] != keys[0]
    assert {request.content for request in transport.requests} == {body.model_dump_json().encode()}


def test_retry_after_is_honoured_in_seconds_and_as_a_date_until_twenty_seconds_are_waited() -> None:
    http, _, naps = connect(
        httpx.Response(503, headers={"Retry-After": "soon"}),
        httpx.Response(503, headers={"Retry-After": "7"}),
        httpx.Response(503, headers={"Retry-After": "Wed, 21 Oct 2099 07:28:00 GMT"}),
        good(),
    )
    http.get("/v1/version", VersionRead)
    assert 0 < naps.seconds[0] < 2
    assert naps.seconds[1] == 7.0
    assert sum(naps.seconds) == pytest.approx(20.0)


def test_no_attempt_follows_when_the_time_for_waiting_is_used_up() -> None:
    http, transport, naps = connect(problem(503, retry="30"), problem(503, retry="30"))
    with pytest.raises(ServiceFailed, match="What happened"):
        http.get("/v1/version", VersionRead)
    assert naps.seconds == [20.0]
    assert len(transport.requests) == 2


def test_who_asks_hears_how_long_it_waits_and_why() -> None:
    heard: list[tuple[float, str]] = []
    http, _, naps = connect(
        problem(503, retry="7"),
        httpx.ConnectError("refused"),
        good(),
        on_wait=lambda seconds, why: heard.append((seconds, why)),
    )
    http.get("/v1/version", VersionRead)
    assert [seconds for seconds, _ in heard] == naps.seconds
    assert [why for _, why in heard] == ["http://service answers 503: What happened.", "no service answers: refused"]


def test_after_the_last_attempt_the_sentence_names_the_address_and_what_to_do() -> None:
    http, transport, _ = connect(*[httpx.ConnectError("refused")] * ATTEMPTS)
    with pytest.raises(
        ConnectionFailed, match=r"No service answers at http://service \(from a test\): refused; start it"
    ):
        http.get("/v1/version", VersionRead)
    assert len(transport.requests) == ATTEMPTS


def test_what_is_submitted_is_tried_for_as_long_as_a_killed_service_takes_to_come_back() -> None:
    http, transport, naps = connect(*[httpx.ConnectError("refused")] * ATTEMPTS_TO_WRITE)
    with pytest.raises(ConnectionFailed):
        http.post("/v1/version", VersionRead)
    assert len(transport.requests) == ATTEMPTS_TO_WRITE
    assert 12 < sum(naps.seconds) <= 20
    assert len({request.headers["Idempotency-Key"] for request in transport.requests}) == 1


def test_what_is_followed_is_asked_for_as_patiently_and_nothing_else() -> None:
    http, transport, _ = connect(*[httpx.ConnectError("refused")] * (ATTEMPTS_TO_WRITE + ATTEMPTS))
    with pytest.raises(ConnectionFailed), http.patiently():
        http.get("/v1/version", VersionRead)
    assert len(transport.requests) == ATTEMPTS_TO_WRITE
    with pytest.raises(ConnectionFailed):
        http.get("/v1/version", VersionRead)
    assert len(transport.requests) == ATTEMPTS_TO_WRITE + ATTEMPTS


def test_an_answer_that_does_not_pass_becomes_its_error_after_the_last_attempt() -> None:
    http, transport, _ = connect(*[problem(503) for _ in range(ATTEMPTS)])
    with pytest.raises(ServiceFailed, match="What happened"):
        http.get("/v1/version", VersionRead)
    assert len(transport.requests) == ATTEMPTS


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, Invalid),
        (401, Unauthorized),
        (403, Forbidden),
        (404, NotFound),
        (409, Conflict),
        (412, Conflict),
        (413, Invalid),
        (422, Invalid),
        (500, ServiceFailed),
    ],
)
def test_every_status_has_its_error_and_is_not_tried_again(status: int, error: type[Exception]) -> None:
    http, transport, _ = connect(problem(status))
    with pytest.raises(error, match="What happened"):
        http.get("/v1/version", VersionRead)
    assert len(transport.requests) == 1


def test_too_many_requests_is_named_so_when_it_does_not_pass() -> None:
    http, _, _ = connect(*[problem(429) for _ in range(ATTEMPTS)])
    with pytest.raises(TooManyRequests):
        http.get("/v1/version", VersionRead)


def test_the_problem_comes_along_with_its_wrong_fields() -> None:
    wrong = [{"pointer": "/spec/sae/d_sae", "detail": "sae.d_sae must be at least 1; got 0."}]
    http, _, _ = connect(problem(422, errors=wrong))
    with pytest.raises(Invalid) as caught:
        http.get("/v1/version", VersionRead)
    assert caught.value.problem.errors[0].pointer == "/spec/sae/d_sae"


def test_an_error_that_is_no_problem_document_is_quoted() -> None:
    http, _, _ = connect(httpx.Response(404, text="<h1>nginx</h1>"))
    with pytest.raises(NotFound, match=r"http://service/v1/version answered 404 Not Found: <h1>nginx</h1>"):
        http.get("/v1/version", VersionRead)


def test_an_answer_of_another_form_says_which_version_expected_what() -> None:
    http, _, _ = connect(httpx.Response(200, json={"version": 1}))
    with pytest.raises(UnreadableAnswer, match=r"GET /v1/version .*\(version: .*use a client of the service's version"):
        http.get("/v1/version", VersionRead)


def test_unknown_fields_of_an_answer_are_ignored() -> None:
    http, _, _ = connect(httpx.Response(200, json={**VERSION, "mood": "sunny"}))
    assert http.get("/v1/version", VersionRead).api == "v1"


def test_the_token_goes_along_and_redirects_are_not_followed() -> None:
    http, transport, _ = connect(httpx.Response(302, headers={"Location": "http://elsewhere/"}))
    with pytest.raises(Invalid):
        http.get("/v1/version", VersionRead)
    assert transport.requests[0].headers["Authorization"] == "Bearer secret"
    assert len(transport.requests) == 1


def pages(total: int, size: int) -> Iterator[httpx.Response]:
    for start in range(0, total, size):
        items = [{**VERSION, "version": str(number)} for number in range(start, min(start + size, total))]
        yield httpx.Response(
            200, json={"items": items, "next_cursor": str(start + size) if start + size < total else None}
        )


def test_pages_follow_the_cursor_to_the_end() -> None:
    http, transport, _ = connect(*pages(5, 2))
    assert [item.version for item in http.pages("/v1/things", VersionRead, {"state": None, "sort": "x"})] == [*"01234"]
    assert [request.url.params.get("cursor") for request in transport.requests] == [None, "2", "4"]
    assert "state" not in transport.requests[0].url.params


def test_pages_ask_for_no_more_than_the_limit() -> None:
    http, transport, _ = connect(*pages(5, 2))
    assert len([*http.pages("/v1/things", VersionRead, limit=4)]) == 4
    assert [request.url.params["limit"] for request in transport.requests] == ["4", "2"]


@pytest.mark.parametrize(
    "address", ["http://host:port", "localhost:8321", "127.0.0.1:8321", "ftp://host", "http://", "", "http:///v1"]
)
def test_an_address_that_is_none_is_refused_with_its_source(address: str) -> None:
    with pytest.raises(ConnectionFailed, match=r"\(from PROLU_URL\) is not an address"):
        Http(Place(address, None, "PROLU_URL"))


@pytest.mark.parametrize("text", ["../me", "", "%2e%2e", "0/../../x"])
def test_what_is_no_id_never_becomes_part_of_a_path(text: str) -> None:
    with pytest.raises(ValueError, match="is no whole id; give one"):
        path_id(text)


def test_the_body_of_a_post_is_json() -> None:
    http, transport, _ = connect(good())
    http.post("/v1/runs", VersionRead, VersionRead(version="1", api="v1", database="sqlite"))
    assert transport.requests[0].headers["Content-Type"] == "application/json"
    assert json.loads(transport.requests[0].content) == VERSION


def test_what_a_repeated_delete_does_not_find_is_deleted_and_a_first_one_was_never_there() -> None:
    http, transport, _ = connect(httpx.ReadError("reset"), problem(404))
    http.delete("/v1/checkpoints/1")
    assert [request.method for request in transport.requests] == ["DELETE"] * 2
    for script in ([problem(404)], [httpx.ConnectError("refused"), problem(404)], [problem(503), problem(404)]):
        http, _, _ = connect(*script)
        with pytest.raises(NotFound):
            http.delete("/v1/checkpoints/1")
