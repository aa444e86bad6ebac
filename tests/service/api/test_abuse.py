"""A real service process under clients that lie, dawdle or shout: a clear 4xx or the end of the connection, and no harm."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from prolu.client.wire import Problem
from service.api.connections import Connection
from tests.service.api.serving import Served, served, wait_until
from tests.service.api.work import RUN

BODY = json.dumps(RUN).encode()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Connection, "head_seconds", 0.5)
        patch.setattr(Connection, "body_seconds", 0.5)
        patch.setattr(Connection, "unread_seconds", 0.5)
        with served(tmp_path_factory.mktemp("abused")) as running:
            yield running
            assert running.http.get("/v1/me").status_code == 200, "it works on"
            assert running.http.get("/livez").status_code == 200


def connected(service: Served) -> socket.socket:
    return socket.create_connection((service.http.base_url.host, service.http.base_url.port or 0), timeout=10)


def authorized(service: Served, line: str, *headers: str) -> bytes:
    token = service.http.headers["Authorization"]
    return "\r\n".join([line, "Host: x", f"Authorization: {token}", *headers, "", ""]).encode()


def rest_of(link: socket.socket) -> bytes:
    """Read until the service ends the connection."""
    heard = bytearray()
    while True:
        try:
            piece = link.recv(65_536)
        except ConnectionResetError:
            return bytes(heard)
        if not piece:
            return bytes(heard)
        heard += piece


def problem_in(answer: bytes, status: int, code: str) -> Problem:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode()), answer[:300]
    assert b"content-type: application/problem+json" in head.lower()
    problem = Problem.model_validate_json(body)
    assert (problem.status, problem.code) == (status, code)
    assert problem.request_id
    return problem


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/runs HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"POST /v1/runs HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /v1/runs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /v1/runs HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/runs HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
    ],
    ids=["TLS", "no target", "version", "no length", "negative length", "path", "chunk", "two framings", "two lengths"],
)
def test_what_is_not_http_is_told_so_and_the_connection_ends(service: Served, sent: bytes) -> None:
    with connected(service) as link:
        link.sendall(sent)
        answer = rest_of(link)
    first = answer.rpartition(b"HTTP/1.1 ")
    assert answer == b"" or problem_in(b"HTTP/1.1 " + first[2], 400, "malformed_request")


def test_a_head_that_never_ends_is_given_up_in_time(service: Served) -> None:
    began = time.monotonic()
    with connected(service) as link:
        link.sendall(b"GET /v1/runs HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        problem_in(rest_of(link), 408, "request_timeout")
    assert time.monotonic() - began < 5


def test_a_body_that_never_comes_is_given_up_in_time(service: Served) -> None:
    with connected(service) as link:
        link.sendall(
            authorized(service, "POST /v1/runs HTTP/1.1", "Content-Type: application/json", "Content-Length: 900")
            + b"{"
        )
        problem_in(rest_of(link), 408, "request_timeout")


def test_who_says_nothing_at_all_is_let_go(service: Served) -> None:
    with connected(service) as link:
        assert rest_of(link) == b""


def test_a_connection_is_kept_for_further_requests_and_each_has_its_own_time(service: Served) -> None:
    with connected(service) as link:
        for _ in range(3):
            link.sendall(authorized(service, "GET /v1/me HTTP/1.1"))
            assert link.recv(65_536).startswith(b"HTTP/1.1 200 ")
        link.sendall(b"GET /v1/me HTTP/1.1\r\nX-Slow: ")
        problem_in(rest_of(link), 408, "request_timeout")


@pytest.mark.parametrize(
    "headers",
    [
        [f"X-{number}: 1" for number in range(1_000)],
        ["X-Long: " + "x" * 100_000],
        ["X-A: " + "x" * 40_000, "X-B: " + "x" * 40_000],
    ],
    ids=["a thousand headers", "one of 100 KB", "80 KB in two"],
)
def test_a_head_that_is_too_large_is_refused(service: Served, headers: list[str]) -> None:
    with connected(service) as link:
        link.sendall(authorized(service, "GET /v1/me HTTP/1.1", *headers))
        problem_in(rest_of(link), 431, "head_too_large")


def test_a_header_without_end_is_refused_before_it_is_all_in_memory(service: Served) -> None:
    with connected(service) as link:
        link.sendall(b"GET /v1/me HTTP/1.1\r\nX-Endless: ")
        sent = 0
        try:
            while sent < 50_000_000:
                sent += link.send(b"x" * 65_536)
        except (ConnectionResetError, BrokenPipeError):
            pass
    assert sent < 20_000_000


def test_a_chunked_body_over_the_limit_is_refused(service: Served) -> None:
    head = authorized(service, "POST /v1/runs HTTP/1.1", "Content-Type: application/json", "Transfer-Encoding: chunked")
    chunk = b"%x\r\n" % 65_536 + b" " * 65_536 + b"\r\n"
    with connected(service) as link:
        link.sendall(head)
        try:
            for _ in range(100):
                link.sendall(chunk)
        except (ConnectionResetError, BrokenPipeError):
            pass
        answer = rest_of(link)
    assert answer == b"" or b"body_too_large" in answer


def test_requests_in_a_row_are_answered_in_a_row(service: Served) -> None:
    paths = ["/v1/me", "/v1/nothing", "/v1/version", "/livez"]
    with connected(service) as link:
        link.sendall(b"".join(authorized(service, f"GET {path} HTTP/1.1") for path in paths[:-1]))
        link.sendall(authorized(service, "GET /livez HTTP/1.1", "Connection: close"))
        answers = rest_of(link).split(b"HTTP/1.1 ")[1:]
    assert [answer[:3] for answer in answers] == [b"200", b"404", b"200", b"200"]
    assert b'"status":"ok"' in answers[-1]


def test_a_body_that_is_longer_than_it_says_spoils_only_its_own_connection(service: Served) -> None:
    head = authorized(
        service, "POST /v1/runs HTTP/1.1", "Content-Type: application/json", f"Content-Length: {len(BODY)}"
    )
    with connected(service) as link:
        link.sendall(head + BODY + b"}}}}")
        answer = rest_of(link)
    assert answer.startswith((b"HTTP/1.1 201 ", b"HTTP/1.1 400 "))


def test_a_reader_who_never_reads_is_let_go(service: Served) -> None:
    base = {name: value for name, value in RUN["spec"].items() if name != "name"}
    sweep = {"spec": {"name": "x" * 100, "base": base, "seeds": [*range(500)]}}
    assert service.http.post("/v1/sweeps", json=sweep).status_code == 201
    with connected(service) as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        link.sendall(authorized(service, "GET /v1/runs?limit=500 HTTP/1.1") * 40)
        wait_until(lambda: unread(service) > 0)
        wait_until(lambda: unread(service) == 0)


def unread(service: Served) -> int:
    """Connections whose answers wait to be read."""
    return sum(one.transport.get_write_buffer_size() > 0 for one in [*service.server.server_state.connections])


def test_who_comes_when_all_descriptors_are_taken_is_asked_to_come_back(
    service: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.api.connections.most_connections", lambda: 0)
    with connected(service) as link:
        answer = rest_of(link)
    problem_in(answer, 503, "unavailable")
    assert b"retry-after: 5" in answer.lower()


@pytest.mark.parametrize("path", ["/v1/runs", "/v1/sweeps", "/v1/sweeps:preview", "/v1/nodes:drain"])
@pytest.mark.parametrize(
    "body",
    [
        b"\xef\xbb\xbf" + BODY,
        BODY.decode().encode("utf-16"),
        BODY.decode().encode("utf-32-be"),
        BODY.replace(b'"spec"', b'"spec": 1, "spec"', 1),
        b'{"spec": NaN}',
        b'{"spec": {"name": "\\ud800"}}',
        b'{"\\u0000": "\\u0000"}',
        b'{"spec": ' + b"[" * 5_000 + b"]" * 5_000 + b"}",
        b'{"priority": -0.0, "spec": {"training": {"steps": 1e400}}}',
        b'{"node": "' + b"../" * 30_000 + b'"}',
        b"\x00" * 1_000,
        b"true",
    ],
    ids=["BOM", "UTF-16", "UTF-32", "twice", "NaN", "surrogate", "NUL", "deep", "huge", "traversal", "zeros", "true"],
)
def test_a_strange_body_is_accepted_or_clearly_refused(service: Served, path: str, body: bytes) -> None:
    for kind in ("application/json", "application/json; charset=latin-1", "application/json; charset=nonsense"):
        answer = service.http.post(path, content=body, headers={"Content-Type": kind})
        assert answer.status_code in (200, 201, 400, 404, 413, 422), answer.text
        if answer.status_code >= 400:
            assert Problem.model_validate_json(answer.text).detail


def test_no_thread_and_no_connection_is_left_of_all_that(service: Served) -> None:
    before = threading.active_count()
    for _ in range(50):
        with connected(service) as link:
            link.sendall(authorized(service, "POST /v1/runs HTTP/1.1", "Content-Length: 10") + b"{")
    wait_until(lambda: len(service.server.server_state.connections) <= 2)
    assert threading.active_count() <= before + 2
