"""`/v1/events` on both databases, behind a real server."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest

from prolu.client.wire import EventRead
from prolu.spec.report import Succeeded
from tests.service.api.serving import Served, served
from tests.service.api.work import sweep_body


@pytest.fixture(scope="module")
def service(shared_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("home"), shared_database_url) as running:
        yield running


def finish(service: Served, run_id: UUID) -> None:
    service.say(run_id, service.claim(run_id), 1, Succeeded(step=100, metrics={}))


def test_who_follows_sees_what_happens_from_now_on(service: Served):
    service.submit()
    with service.follow("/v1/events") as stream:
        hello = next(stream)
        assert (hello.kind, hello.data) == (None, None)
        run_id = service.submit()
        finish(service, run_id)
        seen = [EventRead.model_validate(next(stream).data) for _ in range(4)]
    assert [event.kind for event in seen] == ["submitted", "claimed", "running", "succeeded"]
    assert {event.run_id for event in seen} == {run_id}
    ids = [int(hello.id or "x"), *[event.id for event in seen]]
    assert ids == sorted(ids)


def test_who_comes_back_misses_nothing_and_sees_nothing_twice(service: Served):
    with service.follow("/v1/events") as stream:
        before = next(stream).id
    run_id = service.submit()
    with service.follow("/v1/events", after=before) as stream:
        first = next(stream)
    finish(service, run_id)
    with service.follow("/v1/events", after=first.id) as stream:
        assert [next(stream).data["kind"] for _ in range(3)] == ["claimed", "running", "succeeded"]


def test_zero_is_the_beginning_and_one_run_or_sweep_can_be_followed_alone(service: Served):
    others = service.submit()
    run_id = service.submit()
    finish(service, others)
    finish(service, run_id)
    with service.follow("/v1/events", after="0", run_id=str(run_id)) as stream:
        seen = [next(stream).data for _ in range(4)]
    assert {event["run_id"] for event in seen} == {str(run_id)}
    sweep = service.http.post("/v1/sweeps", json=sweep_body(2)).json()
    with service.follow("/v1/events", after="0", sweep_id=sweep["id"]) as stream:
        seen = [next(stream).data for _ in range(2)]
    runs = service.http.get(f"/v1/sweeps/{sweep['id']}/runs").json()["items"]
    assert [event["run_id"] for event in seen] == [run["id"] for run in runs]


def test_a_long_past_is_told_in_order_and_whole(service: Served):
    sweep = service.http.post("/v1/sweeps", json=sweep_body(700)).json()
    with service.follow("/v1/events", after="0", sweep_id=sweep["id"]) as stream:
        ids = [int(next(stream).id or "x") for _ in range(700)]
    assert ids == sorted({*ids})


def test_what_is_not_there_and_what_is_no_id_is_a_problem(service: Served):
    for name in ("run_id", "sweep_id"):
        assert service.http.get("/v1/events", params={name: str(uuid4())}).status_code == 404
    answer = service.http.get("/v1/events", headers={"Last-Event-ID": "1-2"})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "header:Last-Event-ID")
