"""The metrics of a sweep in one stream, against a real server: nothing missed, whoever reports and whenever one comes back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import event

from prolu.spec.report import MetricPoint, Succeeded
from service.store import queue, sweep_metric_news
from service.store.sweep_metric_news import Place
from tests.service.api.serving import Message, Served, served
from tests.service.api.work import RUN

SUCCEEDED = Succeeded(step=100, metrics={"l0": 1.0})


def train(step: int) -> MetricPoint:
    return MetricPoint(split="train", step=step, tokens=10 * step, values={"l0": 1.0})


def held_out(step: int) -> MetricPoint:
    return MetricPoint(split="held_out", step=step, tokens=10 * step, values={"l0": 2.0})


class Sweep:
    """A sweep of a few runs that are being worked on."""

    def __init__(self, service: Served, runs: int = 3) -> None:
        base = {name: value for name, value in RUN["spec"].items() if name != "name"}
        grid = {"sparsity.coefficient": [0.001 * number for number in range(1, runs + 1)]}
        answer = service.http.post("/v1/sweeps", json={"spec": {"name": "s", "base": base, "grid": grid}})
        assert answer.status_code == 201, answer.text
        self.id = answer.json()["id"]
        listed = service.http.get(f"/v1/sweeps/{self.id}/runs").json()["items"]
        self.runs = [UUID(run["id"]) for run in listed]
        self.path = f"/v1/sweeps/{self.id}/metrics/stream"
        self._service = service
        self._said = dict.fromkeys(self.runs, 0)
        for run in self.runs:
            service.claim(run)

    def say(self, number: int, *said: Any) -> None:
        run = self.runs[number]
        self._service.say(run, 1, self._said[run] + 1, *said)
        self._said[run] += len(said)

    def end(self) -> None:
        for number in range(len(self.runs)):
            self.say(number, SUCCEEDED)


@pytest.fixture(scope="module")
def service(shared_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("home"), shared_database_url) as running:
        yield running


@pytest.fixture
def sweep(service: Served) -> Sweep:
    return Sweep(service)


def points(messages: list[Message]) -> list[tuple[int, int, str]]:
    return [(message.data["point"], message.data["step"], message.data["split"]) for message in messages]


def test_who_follows_gets_what_is_there_then_what_comes_of_any_run_and_then_the_end(service: Served, sweep: Sweep):
    sweep.say(0, train(1), held_out(1))
    sweep.say(1, train(1))
    with service.follow(sweep.path) as stream:
        assert points([next(stream) for _ in range(3)]) == [(0, 1, "train"), (0, 1, "held_out"), (1, 1, "train")]
        sweep.say(2, train(5))
        assert points([next(stream)]) == [(2, 5, "train")]
        sweep.say(1, train(2))
        assert points([next(stream)]) == [(1, 2, "train")]
        sweep.end()
        (end,) = stream
    assert (end.kind, end.data) == ("end", {"runs": 3})


def test_who_comes_back_with_any_id_misses_nothing(service: Served, sweep: Sweep):
    sweep.say(0, train(1))
    ids = []
    with service.follow(sweep.path) as stream:
        ids.append(next(stream).id)
        for number, point in ((1, train(1)), (0, held_out(1)), (2, train(1)), (0, train(2)), (2, SUCCEEDED)):
            sweep.say(number, point)
            if point is not SUCCEEDED:
                ids.append(next(stream).id)
    sweep.say(0, SUCCEEDED)
    sweep.say(1, train(2), SUCCEEDED)
    every = [(0, 1, "train"), (1, 1, "train"), (0, 1, "held_out"), (2, 1, "train"), (0, 2, "train"), (1, 2, "train")]
    for seen, last in enumerate(ids, start=1):
        with service.follow(sweep.path, after=last) as stream:
            *told, end = stream
        assert (sorted(points(told)), end.kind) == (sorted(every[seen:]), "end")


def test_one_kind_can_be_followed_alone(service: Served, sweep: Sweep):
    sweep.say(0, train(1), held_out(1))
    sweep.say(1, train(1))
    sweep.end()
    with service.follow(sweep.path, split="held_out") as stream:
        *told, _ = stream
    assert points(told) == [(0, 1, "held_out")]


def test_what_is_told_in_several_looks_is_whole_and_each_once(
    service: Served, sweep: Sweep, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sweep_metric_news, "RUNS_AT_ONCE", 2)
    sweep.say(1, *[train(step) for step in range(1, 451)])
    sweep.say(2, train(1))
    sweep.end()
    with service.follow(sweep.path) as stream:
        *told, end = stream
    found = points([one for one in told if one.kind == "metric"])
    assert [step for point, step, _ in found if point == 1] == [*range(1, 451)]
    assert [step for point, step, _ in found if point == 2] == [1]
    assert end.kind == "end"


def test_runs_that_were_added_are_followed_too_and_a_foreign_id_begins_at_the_beginning(service: Served, sweep: Sweep):
    other = Sweep(service, 2)
    other.say(0, train(1))
    sweep.say(0, train(1))
    with service.follow(sweep.path) as stream:
        last = next(stream).id
        with service.services.database.begin() as session:
            queue.lose(session, sweep.runs[0], 1, failure_class="node_lost", message="gone")
    other.end()
    with service.follow(other.path, after=last) as stream:
        *told, end = stream
    assert (points(told), end.kind) == ([(0, 1, "train")], "end")


def test_a_look_asks_only_runs_that_have_reported_since(service: Served):
    sweep = Sweep(service, 6)
    for number in range(6):
        sweep.say(number, train(1))
    asked: list[str] = []
    with service.services.database.read() as session:
        first = sweep_metric_news.news(session, UUID(sweep.id), Place(), split=None)
    sweep.say(3, train(2))
    engine = service.services.database.engine
    listen = (engine, "before_cursor_execute", lambda _c, _u, statement, *_: asked.append(statement))
    event.listen(*listen)
    with service.services.database.read() as session:
        found = sweep_metric_news.news(session, UUID(sweep.id), first.place, split=None)
    event.remove(*listen)
    assert [(point.point, point.step) for point in found.points] == [(3, 2)]
    assert len([one for one in asked if "metric_points" in one]) == 1
    sweep.end()


def test_what_is_not_there_and_what_is_no_id_is_a_problem(service: Served, sweep: Sweep):
    assert service.http.get(f"/v1/sweeps/{uuid4()}/metrics/stream").status_code == 404
    for wrong in ("1", "3-0-0-", "3-0123abcd-zz-", "3-0123abcd-0-0.1.1.x", "3-0123abcd-0-0.1.1.t_", "9" * 39_000):
        answer = service.http.get(sweep.path, headers={"Last-Event-ID": wrong})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "header:Last-Event-ID")
    sweep.end()
