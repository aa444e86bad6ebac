"""The log of a run, as a list and as it comes, on both databases behind a real server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import event

from prolu.client.wire import LogRead
from prolu.spec.report import Succeeded
from service.store import queue
from tests.service.api.serving import Served, served, wait_until

SUCCEEDED = Succeeded(step=100, metrics={"l0": 1.0})


@pytest.fixture(scope="module")
def service(shared_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("home"), shared_database_url) as running:
        yield running


@pytest.fixture
def run_id(service: Served) -> UUID:
    """A run whose first attempt logged five lines and was lost, and whose second has logged three so far."""
    run_id = service.submit()
    service.say(run_id, service.claim(run_id), 1, "one\ntwo", "three", "four\nfive")
    with service.services.database.begin() as session:
        queue.lose(session, run_id, 1, failure_class="node_lost", message="gone")
    service.say(run_id, service.claim(run_id), 1, "six", "seven\neight")
    return run_id


def texts(page: object) -> list[str]:
    return [item["text"] for item in page["items"]]  # type: ignore[index]


def test_the_log_is_a_list_by_attempt_and_report(service: Served, run_id: UUID):
    path = f"/v1/runs/{run_id}/logs"
    first = service.http.get(path, params={"limit": 3}).json()
    assert texts(first) == ["one\ntwo", "three", "four\nfive"]
    rest = service.http.get(path, params={"limit": 3, "cursor": first["next_cursor"]}).json()
    assert texts(rest) == ["six", "seven\neight"]
    assert rest["next_cursor"] is None
    assert [(item["epoch"], item["seq"]) for item in rest["items"]] == [(2, 1), (2, 2)]
    assert LogRead.model_validate(rest["items"][0]).at.utcoffset() is not None
    assert texts(service.http.get(path, params={"epoch": 1}).json()) == ["one\ntwo", "three", "four\nfive"]


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        (1, ["eight"]),
        (2, ["seven\neight"]),
        (4, ["five", "six", "seven\neight"]),
        (100, ["one\ntwo", "three", "four\nfive", "six", "seven\neight"]),
    ],
)
def test_the_tail_is_the_last_lines_in_order(service: Served, run_id: UUID, lines: int, shown: list[str]):
    assert texts(service.http.get(f"/v1/runs/{run_id}/logs", params={"tail": lines}).json()) == shown


def test_the_tail_of_one_attempt_stays_in_it(service: Served, run_id: UUID):
    assert texts(service.http.get(f"/v1/runs/{run_id}/logs", params={"tail": 2, "epoch": 1}).json()) == ["four\nfive"]


def test_a_past_attempt_adds_nothing(service: Served, run_id: UUID):
    assert service.say(run_id, 1, 4, "from the grave") is None
    assert "from the grave" not in service.http.get(f"/v1/runs/{run_id}/logs").text


def test_lines_that_are_delivered_twice_are_stored_once(service: Served, run_id: UUID):
    assert service.say(run_id, 2, 1, "six", "seven\neight", "nine") == 3
    assert texts(service.http.get(f"/v1/runs/{run_id}/logs", params={"epoch": 2}).json()) == [
        "six",
        "seven\neight",
        "nine",
    ]


def test_text_that_postgresql_cannot_hold_is_made_storable(service: Served, run_id: UUID):
    service.say(run_id, 2, 3, "nul \x00 here")
    assert texts(service.http.get(f"/v1/runs/{run_id}/logs", params={"tail": 1}).json()) == ["nul � here"]


def test_who_follows_gets_what_is_there_then_what_comes_and_then_the_end(service: Served, run_id: UUID):
    with service.follow(f"/v1/runs/{run_id}/logs", follow=True) as stream:
        there = [next(stream) for _ in range(5)]
        assert [message.id for message in there] == ["1-1", "1-2", "1-3", "2-1", "2-2"]
        assert {message.kind for message in there} == {"log"}
        assert there[-1].data["text"] == "seven\neight"
        service.say(run_id, 2, 3, "nine")
        assert (lambda message: (message.id, message.data["text"]))(next(stream)) == ("2-3", "nine")
        service.say(run_id, 2, 4, "the last", SUCCEEDED)
        assert next(stream).data["text"] == "the last"
        end = next(stream)
        assert (end.kind, end.data) == ("end", {"state": "succeeded"})
        assert list(stream) == []


def test_who_comes_back_with_the_last_id_gets_what_follows_it(service: Served, run_id: UUID):
    with service.follow(f"/v1/runs/{run_id}/logs", follow=True, after="1-3") as stream:
        assert next(stream).id == "2-1"
    service.say(run_id, 2, 3, SUCCEEDED)
    with service.follow(f"/v1/runs/{run_id}/logs", follow=True, after="2-2") as stream:
        assert [message.kind for message in stream] == ["end"]


def test_a_browser_that_accepts_event_streams_follows_as_well(service: Served, run_id: UUID):
    with service.http.stream("GET", f"/v1/runs/{run_id}/logs", headers={"Accept": "text/event-stream"}) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-store"


def test_who_follows_the_tail_gets_the_last_lines_and_then_what_comes(service: Served, run_id: UUID):
    with service.follow(f"/v1/runs/{run_id}/logs", follow=True, tail=1) as stream:
        assert next(stream).data["text"] == "eight"
        service.say(run_id, 2, 3, "nine")
        assert next(stream).data["text"] == "nine"


def test_following_one_attempt_ends_with_that_attempt(service: Served, run_id: UUID):
    with service.follow(f"/v1/runs/{run_id}/logs", follow=True, epoch=1) as stream:
        *logged, end = stream
    assert [message.id for message in logged] == ["1-1", "1-2", "1-3"]
    assert (end.kind, end.data) == ("end", {"state": "running"})


def test_a_long_log_is_followed_to_its_end(service: Served):
    run_id = service.submit()
    service.say(run_id, service.claim(run_id), 1, *[f"line {number}" for number in range(250)], SUCCEEDED)
    with service.follow(f"/v1/runs/{run_id}/logs", follow=True) as stream:
        *logged, end = stream
    assert [message.data["text"] for message in logged] == [f"line {number}" for number in range(250)]
    assert end.kind == "end"


@pytest.mark.parametrize("params", [{}, {"follow": True}, {"tail": 5}, {"follow": True, "tail": 5}])
def test_an_unknown_run_is_a_problem_and_not_a_stream(service: Served, params: dict[str, object]):
    answer = service.http.get(f"/v1/runs/{uuid4()}/logs", params=params)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("wrong", ["x", "1", "1-", "-1-2", "1-" + "9" * 30])
def test_an_id_that_no_message_had_is_refused(service: Served, run_id: UUID, wrong: str):
    answer = service.http.get(f"/v1/runs/{run_id}/logs", params={"follow": True}, headers={"Last-Event-ID": wrong})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "header:Last-Event-ID"


def test_a_cursor_goes_with_neither_tail_nor_follow(service: Served, run_id: UUID):
    for params in ({"tail": 1}, {"follow": True}):
        answer = service.http.get(f"/v1/runs/{run_id}/logs", params={**params, "cursor": "x"})
        assert (answer.status_code, "leave it out" in answer.json()["detail"]) == (422, True)


def test_without_a_token_nobody_follows(service: Served, run_id: UUID):
    assert service.http.get(f"/v1/runs/{run_id}/logs?follow=true", headers={"Authorization": ""}).status_code == 401


def test_many_who_follow_leave_the_database_to_the_others(service: Served, run_id: UUID):
    engine, held, most = service.services.database.engine, 0, 0

    def taken(*_: object) -> None:
        nonlocal held, most
        held += 1
        most = max(most, held)

    def returned(*_: object) -> None:
        nonlocal held
        held -= 1

    with ExitStack() as stack:
        for name, listener in (("checkout", taken), ("checkin", returned)):
            event.listen(engine, name, listener)
            stack.callback(event.remove, engine, name, listener)
        streams = [
            stack.enter_context(service.follow(f"/v1/runs/{run_id}/logs", follow=True, after="2-2")) for _ in range(60)
        ]
        assert service.services.streams.open == 60
        began = time.monotonic()
        assert service.http.get("/v1/runs").status_code == 200
        assert time.monotonic() - began < 5
        service.say(run_id, 2, 3, "to all")
        assert {next(stream).data["text"] for stream in streams} == {"to all"}
        assert most <= 8, "four for the streams, and what answers requests"


def test_a_client_that_leaves_frees_its_place_at_once_and_one_too_many_is_told_so(tmp_path: Path):
    with served(tmp_path, max_streams=1) as service:
        run_id = service.submit()
        path = f"/v1/runs/{run_id}/logs"
        with service.follow(path, follow=True):
            refused = service.http.get(path, params={"follow": True})
            assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
            assert refused.headers["retry-after"] == "5"
        wait_until(lambda: service.services.streams.open == 0)
        with service.follow(path, follow=True):
            assert service.services.streams.open == 1


def test_a_stream_is_closed_after_its_time_without_an_end_and_silence_is_filled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("service.api.streams._KEEP_ALIVE_SECONDS", 0.2)
    with served(tmp_path, stream_seconds=1.0) as service:
        run_id = service.submit()
        began = time.monotonic()
        with service.follow(f"/v1/runs/{run_id}/logs", follow=True) as stream:
            heard = list(stream)
        assert 0.9 < time.monotonic() - began < 5
    assert heard
    assert {(message.kind, message.data) for message in heard} == {("comment", "still here")}


def test_the_service_ends_without_waiting_for_those_who_follow(tmp_path: Path):
    with served(tmp_path) as service:
        run_id = service.submit()
        with service.follow(f"/v1/runs/{run_id}/logs", follow=True) as stream:
            began = time.monotonic()
            service.server.should_exit = True
            assert list(stream) == []
            assert time.monotonic() - began < 3
