"""`/metrics` on both databases: what Prometheus reads is what there is."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import event, update

from prolu.client.wire import NodeRead
from prolu.spec.report import Failed, Succeeded
from service.store import figures, nodes, queue, reports
from service.store.db import database_now
from service.store.lease import lead
from service.store.models import AttemptRow, RunRow
from tests.fixtures_api import Api, running_api
from tests.service.api.work import submit, work_on


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask the database at every scrape."""
    monkeypatch.setattr("service.api.counting._KEPT_SECONDS", 0.0)
    monkeypatch.setattr("service.api.counting._SHARE_OF_TIME", 0)


def scrape(api: Api) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """The samples by name and labels."""
    answer = api.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def labels(**named: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(named.items()))


def test_the_queue_is_counted_by_state_and_user_with_its_oldest_wait(api: Api) -> None:
    for _ in range(3):
        submit(api)
    ended = submit(api)
    work_on(api, ended["id"], Succeeded(step=100, metrics={}))
    with api.database.begin() as session:
        hour_ago = database_now(session) - timedelta(hours=1)
        session.execute(update(RunRow).where(RunRow.id == UUID(ended["id"])).values(queued_at=hour_ago))
    found = scrape(api)
    assert found["prolu_runs"] == {labels(state="queued", user="admin"): 3}
    assert 0 <= found["prolu_queue_oldest_wait_seconds"][labels(user="admin")] < 60
    with api.database.begin() as session:
        session.execute(update(RunRow).values(queued_at=hour_ago))
    assert 3600 <= scrape(api)["prolu_queue_oldest_wait_seconds"][labels(user="admin")] < 3700


def test_attempts_are_counted_by_how_they_ended(api: Api) -> None:
    for end in (
        Succeeded(step=100, metrics={}),
        Succeeded(step=100, metrics={}),
        Failed(step=3, failure_class="nan_loss", message="NaN"),
    ):
        work_on(api, submit(api)["id"], end)
    work_on(api, submit(api)["id"])
    assert scrape(api)["prolu_attempts_total"] == {
        labels(outcome="succeeded", failure_class=""): 2,
        labels(outcome="failed", failure_class="nan_loss"): 1,
    }


def test_gpu_seconds_go_on_while_an_attempt_lives_and_are_kept_when_it_ends(api: Api) -> None:
    run = submit(api, resources={"ranks": 2, "gpus": 1.0, "cpus": 4})
    work_on(api, run["id"])
    with api.database.begin() as session:
        began = database_now(session) - timedelta(seconds=100)
        session.execute(update(AttemptRow).values(started_at=began))
    expected = 100 * 2 * (1.0 + 4 / 32)
    alive = scrape(api)["prolu_gpu_seconds_total"][labels(user="admin")]
    assert expected <= alive < expected * 1.2
    with api.database.begin() as session:
        end = Succeeded(step=100, metrics={})
        reports.apply(session, UUID(run["id"]), 1, [(9, end)], lease_seconds=60, node="n")
    kept = scrape(api)["prolu_gpu_seconds_total"][labels(user="admin")]
    assert alive <= kept < expected * 1.3


def test_gpu_seconds_take_nothing_back_when_an_attempt_is_lost_that_nobody_had_heard_of_for_long(api: Api) -> None:
    work_on(api, submit(api, resources={"gpus": 1.0})["id"])
    with api.database.begin() as session:
        now = database_now(session)
        session.execute(
            update(AttemptRow).values(started_at=now - timedelta(hours=1), lease_until=now - timedelta(minutes=50))
        )
    before = scrape(api)["prolu_gpu_seconds_total"][labels(user="admin")]
    with api.database.begin() as session:
        queue.reap(session)
    assert scrape(api)["prolu_gpu_seconds_total"][labels(user="admin")] == pytest.approx(before)


def test_the_cluster_and_its_dispatcher_are_told(api: Api) -> None:
    assert "prolu_dispatcher_seen_timestamp_seconds" not in scrape(api)
    offers = [
        NodeRead(name="a", cpus=8, gpus=2, gpu_type="A100", memory_gb=64),
        NodeRead(name="b", cpus=8, gpus=1, gpu_type="A100", memory_gb=64),
        NodeRead(name="c", cpus=2, gpus=0, memory_gb=8),
    ]
    with api.database.begin() as session:
        nodes.record_nodes(session, offers)
        lead(session, "first", seconds=10)
        now = database_now(session)
    found = scrape(api)
    assert found["prolu_nodes"] == {labels(draining="false"): 3, labels(draining="true"): 0}
    assert found["prolu_cluster_cpus"][()] == 18
    assert found["prolu_cluster_gpus"] == {labels(gpu_type="A100"): 3}
    assert found["prolu_cluster_memory_bytes"][()] == 136 * 2**30
    assert found["prolu_dispatcher_term"][()] == 1
    assert abs(found["prolu_dispatcher_seen_timestamp_seconds"][()] - now.timestamp()) < 5


def test_requests_are_timed_by_route_and_status_and_never_by_what_they_name(api: Api) -> None:
    run = submit(api)
    for _ in range(2):
        api.get(f"/v1/runs/{run['id']}")
    api.get("/v1/runs/0190f8c2-0000-7000-8000-000000000000")
    for path in ("/nothing/here", "/nor/here"):
        api.get(path)
    api.http.request("BREW", "/v1/runs")
    counts = scrape(api)["prolu_http_request_duration_seconds_count"]
    assert counts[labels(method="GET", route="/v1/runs/{run_id}", status="200")] == 2
    assert counts[labels(method="GET", route="/v1/runs/{run_id}", status="404")] == 1
    assert counts[labels(method="GET", route="unknown", status="404")] == 2
    assert [key for key in counts if ("method", "other") in key]
    assert run["id"] not in api.get("/metrics").text


def test_no_sample_names_a_run(api: Api) -> None:
    work_on(api, submit(api)["id"])
    assert re.search(r"[0-9a-f]{8}-[0-9a-f]{4}", api.get("/metrics").text) is None


def test_whoever_scrapes_needs_a_token_unless_the_operator_says_otherwise(api: Api, tmp_path: Path) -> None:
    assert api.http.get("/metrics", headers={"Authorization": ""}).status_code == 401
    member = {"Authorization": f"Bearer {api.token_of('prometheus')}"}
    assert api.http.get("/metrics", headers=member).status_code == 200
    with running_api(tmp_path / "open", metrics_open=True) as opened:
        assert opened.http.get("/metrics", headers={"Authorization": ""}).status_code == 200


def test_prometheus_may_ask_for_the_newer_format(api: Api) -> None:
    answer = api.http.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


def test_the_database_is_asked_once_a_second_at_most(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.api.counting._KEPT_SECONDS", 60.0)
    asked: list[str] = []

    def remember(_: Any, __: Any, statement: str, *___: Any) -> None:
        asked.append(statement)

    event.listen(api.database.engine, "before_cursor_execute", remember)
    for _ in range(3):
        scrape(api)
    event.remove(api.database.engine, "before_cursor_execute", remember)
    assert len([statement for statement in asked if "GROUP BY runs.owner_id" in statement]) == 1


# The plan of PostgreSQL depends on how much there is, and on when it was last vacuumed.
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_has_ended_is_counted_from_an_index_alone(api: Api) -> None:
    with api.database.read() as session:
        plan = session.connection().exec_driver_sql(
            "EXPLAIN QUERY PLAN SELECT outcome, failure_class, count(*) FROM attempts WHERE finished_at IS NOT NULL "
            "GROUP BY outcome, failure_class"
        )
        assert [row[3] for row in plan] == ["SCAN attempts USING INDEX ix_attempts_ended"]
        assert figures.figures(session).attempts == {}
