"""The metrics of a run as they come, on both databases behind a real server."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest

from prolu.client.wire import MetricRead
from prolu.spec.report import MetricPoint, Succeeded
from service.store import queue
from tests.service.api.serving import Message, Served, served

SUCCEEDED = Succeeded(step=100, metrics={"l0": 1.0})


def train(step: int, value: float = 1.0) -> MetricPoint:
    return MetricPoint(split="train", step=step, tokens=10 * step, values={"l0": value})


def held_out(step: int) -> MetricPoint:
    return MetricPoint(split="held_out", step=step, tokens=10 * step, values={"l0": 2.0})


@pytest.fixture(scope="module")
def service(shared_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("home"), shared_database_url) as running:
        yield running


@pytest.fixture
def run_id(service: Served) -> UUID:
    run_id = service.submit()
    service.say(run_id, service.claim(run_id), 1, train(1), train(2), held_out(2))
    return run_id


def points(messages: list[Message]) -> list[tuple[str | None, int, str]]:
    found = [(message.id, MetricRead.model_validate(message.data)) for message in messages]
    return [(at, point.step, point.split) for at, point in found]


def test_who_follows_gets_what_is_there_then_what_comes_and_then_the_end(service: Served, run_id: UUID):
    with service.follow(f"/v1/runs/{run_id}/metrics/stream") as stream:
        there = points([next(stream) for _ in range(3)])
        assert there == [("1-1-train", 1, "train"), ("1-2-train", 2, "train"), ("1-2-both", 2, "held_out")]
        service.say(run_id, 1, 4, train(3))
        assert points([next(stream)]) == [("1-3-train", 3, "train")]
        service.say(run_id, 1, 5, held_out(3), SUCCEEDED)
        assert points([next(stream)]) == [("1-3-both", 3, "held_out")]
        end = next(stream)
        assert (end.kind, end.data) == ("end", {"state": "succeeded"})
        assert list(stream) == []


@pytest.mark.parametrize(
    ("last", "then"),
    [
        ("1-1-train", ["1-2-train", "1-2-both"]),
        ("1-2-train", ["1-2-both"]),
        ("1-2-held_out", ["1-2-both"]),
        ("1-2-both", []),
        ("0-0-both", ["1-1-train", "1-2-train", "1-2-both"]),
    ],
)
def test_who_comes_back_gets_what_it_has_not_seen_of_the_same_step_too(
    service: Served, run_id: UUID, last: str, then: list[str]
):
    service.say(run_id, 1, 4, SUCCEEDED)
    with service.follow(f"/v1/runs/{run_id}/metrics/stream", after=last) as stream:
        *told, end = stream
    assert ([message.id for message in told], end.kind) == (then, "end")


def test_an_attempt_that_goes_on_tells_the_steps_since_its_checkpoint_once_more(service: Served, run_id: UUID):
    with service.follow(f"/v1/runs/{run_id}/metrics/stream", after="1-2-both") as stream:
        with service.services.database.begin() as session:
            queue.lose(session, run_id, 1, failure_class="node_lost", message="gone")
        service.say(run_id, service.claim(run_id), 1, train(2), held_out(2), train(3), SUCCEEDED)
        *told, end = stream
    assert [message.id for message in told] == ["2-2-train", "2-2-both", "2-3-train"]
    assert end.kind == "end"


def test_one_kind_can_be_followed_alone(service: Served, run_id: UUID):
    service.say(run_id, 1, 4, train(3), SUCCEEDED)
    with service.follow(f"/v1/runs/{run_id}/metrics/stream", split="held_out") as stream:
        *told, _ = stream
    assert points(told) == [("1-2-held_out", 2, "held_out")]


def test_a_long_series_is_told_whole_and_in_order(service: Served, run_id: UUID):
    service.say(run_id, 1, 4, *[train(step) for step in range(3, 503)], SUCCEEDED)
    with service.follow(f"/v1/runs/{run_id}/metrics/stream", after="1-2-both") as stream:
        *told, end = stream
    assert [message.data["step"] for message in told] == [*range(3, 503)]
    assert end.kind == "end"


def test_what_is_not_there_and_what_is_no_id_is_a_problem(service: Served, run_id: UUID):
    assert service.http.get(f"/v1/runs/{uuid4()}/metrics/stream").status_code == 404
    for wrong in ("1", "1-2", "1-2-x", "1-2-both-", "-1-2-both", "1-" + "9" * 30 + "-both"):
        headers = {"Last-Event-ID": wrong}
        answer = service.http.get(f"/v1/runs/{run_id}/metrics/stream", headers=headers)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "header:Last-Event-ID")
