"""Logs from Python and on the command line, against the real service."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from uuid import UUID

import httpx
import pytest

from prolu.client import Client, ConnectionFailed, NotFound
from prolu.spec.report import LogLines, Succeeded
from tests.client.desk import RUN, Desk, Running

Prolu = Callable[..., tuple[int, str, str]]
SUCCEEDED = Succeeded(step=100, metrics={"l0": 8.0})


@pytest.fixture
def run(client: Client, desk: Desk) -> UUID:
    """A run that is being worked on, and has logged three lines."""
    run = client.runs.submit(RUN)
    desk.claim()
    desk.report(run.id, LogLines(text="one\ntwo"), LogLines(text="three"))
    return run.id


class BreaksOff(httpx.HTTPTransport):
    """A network on which every stream breaks off after so many pieces."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after
        self.asked: list[str | None] = []
        self.gone = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if self.gone:
            raise httpx.ConnectError("no route")
        response = super().handle_request(request)
        if response.headers["content-type"].startswith("text/event-stream"):
            self.asked.append(request.headers.get("Last-Event-ID"))
            return httpx.Response(200, headers=response.headers, stream=Broken(response, self.after))
        return response


class Broken(httpx.SyncByteStream):
    def __init__(self, response: httpx.Response, after: int) -> None:
        self._response = response
        self._after = after

    def __iter__(self) -> Iterator[bytes]:
        assert isinstance(self._response.stream, httpx.SyncByteStream)
        for place, piece in enumerate(self._response.stream, start=1):
            yield piece
            if place == self._after:  # at once: the next piece may be a comment after a quarter of a minute
                raise httpx.ReadError("connection reset")

    def close(self) -> None:
        self._response.close()


def test_the_log_is_read_whole_by_attempt_or_from_its_end(client: Client, run: UUID) -> None:
    assert [(read.epoch, read.seq, read.text) for read in client.runs.logs(run)] == [
        (1, 1, "one\ntwo"),
        (1, 2, "three"),
    ]
    assert [read.text for read in client.runs.logs(run, lines=2)] == ["two", "three"]
    assert client.runs.logs(run, epoch=2) == []


def test_a_log_is_followed_until_the_run_has_ended(client: Client, desk: Desk, run: UUID) -> None:
    followed = client.runs.follow_logs(run)
    assert [next(followed).text for _ in range(2)] == ["one\ntwo", "three"]
    desk.report(run, LogLines(text="four"), SUCCEEDED)
    assert [read.text for read in followed] == ["four"]


def test_a_stream_that_breaks_off_is_taken_up_where_it_was(service: Running, desk: Desk, run: UUID) -> None:
    network = BreaksOff(after=2)  # the advice when to come back, and one piece of the log
    waits: list[float] = []
    with Client(service.url, service.token, transport=network, sleep=waits.append) as client:
        followed = client.runs.follow_logs(run)
        assert [next(followed).text for _ in range(2)] == ["one\ntwo", "three"]
        desk.report(run, LogLines(text="four"))
        assert next(followed).text == "four"
        desk.report(run, LogLines(text="five"), SUCCEEDED)
        assert [read.text for read in followed] == ["five"]
    assert network.asked[:2] == [None, "1-2"]
    assert waits


def test_a_service_that_is_gone_ends_the_following(service: Running, run: UUID) -> None:
    network = BreaksOff(after=2)
    with Client(service.url, service.token, transport=network, sleep=lambda _: None) as client:
        followed = client.runs.follow_logs(run)
        next(followed)
        network.gone = True
        with pytest.raises(ConnectionFailed):
            list(followed)


def test_an_unknown_run_has_no_log(client: Client, run: UUID) -> None:
    with pytest.raises(NotFound):
        next(client.runs.follow_logs(UUID(int=7)))


def test_the_command_prints_lines(prolu: Prolu, run: UUID) -> None:
    assert prolu("logs", str(run)) == (0, "one\ntwo\nthree\n", "")
    assert prolu("logs", "last", "-n", "1") == (0, "three\n", "")
    assert prolu("logs", "--epoch", "2") == (0, "", "")


def test_the_command_follows_to_the_end(prolu: Prolu, desk: Desk, run: UUID) -> None:
    ends = threading.Timer(0.3, lambda: desk.report(run, LogLines(text="four"), SUCCEEDED))
    ends.start()
    assert prolu("logs", "-f", str(run)) == (0, "one\ntwo\nthree\nfour\n", "")
    ends.join()


def test_the_command_prints_json_lines(prolu: Prolu, run: UUID) -> None:
    status, out, _ = prolu("logs", "--json")
    assert status == 0
    assert [json.loads(line)["text"] for line in out.splitlines()] == ["one\ntwo", "three"]


def test_what_would_steer_the_terminal_is_shown_and_not_done(prolu: Prolu, desk: Desk, run: UUID) -> None:
    desk.report(run, LogLines(text="\x1b[2J cleared\tand tabbed"))
    assert prolu("logs", "-n", "1")[1] == "\\x1b[2J cleared    and tabbed\n"


def test_a_run_that_is_not_there_is_said_so(prolu: Prolu, run: UUID) -> None:
    status, out, err = prolu("logs", str(UUID(int=7)))
    assert (status, out) == (4, "")
    assert "There is no run" in err
