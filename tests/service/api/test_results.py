"""Any runs by any filter, over HTTP: pages, orders, columns, files; and what is refused, where and why."""

from __future__ import annotations

import csv
import io
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from prolu.spec.report import Succeeded
from service.api import results
from service.store import querying
from tests.fixtures_api import Api
from tests.service.api.serving import served
from tests.service.api.work import submit, sweep_body, work_on
from tests.service.store.specs import snapshot

QUERY = "/v1/results:query"


def _finished(api: Api, name: str, *, coefficient: float, l0: float) -> str:
    run = submit(api, name=name, sparsity={"kind": "l1", "coefficient": coefficient})
    measured = {"l0": l0, "fvu": 1.0 / (1.0 + l0)}
    work_on(api, run["id"], snapshot(10, mean=-l0), Succeeded(step=100, metrics=measured))
    return str(run["id"])


@pytest.fixture
def lab(api: Api) -> Api:
    """Four runs: three that have succeeded, and one that waits, whose name a spreadsheet would run."""
    for name, coefficient, l0 in (("a", 0.1, 5.0), ("b", 0.01, 50.0), ("c", 0.001, 50.0)):
        _finished(api, name, coefficient=coefficient, l0=l0)
    submit(api, name="=1+1")
    return api


def _names(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [item["name"] for item in answer.json()["items"]]


def test_runs_are_found_by_state_spec_and_metrics(lab: Api) -> None:
    asked = {
        "filter": 'state = "succeeded" AND spec.sparsity.coefficient < 0.05 AND metrics.l0 <= 50',
        "order_by": "name",
    }
    assert _names(lab.post(QUERY, asked)) == ["b", "c"]
    assert _names(lab.post(QUERY, {**asked, "filter": "NOT metrics.l0:*"})) == ["=1+1"]
    assert _names(lab.post(QUERY, {**asked, "filter": "bias.mean = -5"})) == ["a"]


def test_a_row_has_the_columns_that_were_asked_for_with_their_types(lab: Api) -> None:
    fields = ["name", "metrics.l0", "spec.sae.k", "created_at", "preemptible", "owner"]
    page = lab.post(QUERY, {"filter": 'name = "a"', "fields": fields}).json()
    assert [(column["name"], column["kind"]) for column in page["columns"]] == [
        ("name", "text"),
        ("metrics.l0", "number"),
        ("spec.sae.k", "integer"),
        ("created_at", "time"),
        ("preemptible", "boolean"),
        ("owner", "text"),
    ]
    (item,) = page["items"]
    created = item.pop("created_at")
    assert created.endswith("Z")
    assert datetime.fromisoformat(created) <= datetime.now(UTC)
    assert item == {
        "name": "a",
        "metrics.l0": 5.0,
        "spec.sae.k": None,
        "preemptible": False,
        "owner": lab.get("/v1/me").json()["name"],
    }


def test_pages_follow_each_other_in_the_order_with_missing_values_last(lab: Api) -> None:
    asked = {"order_by": "metrics.l0 desc, name", "fields": ["name"], "limit": 1}
    names, cursor = [], None
    while True:
        page = lab.post(QUERY, {**asked, "cursor": cursor}).json()
        names += [item["name"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert names == ["b", "c", "a", "=1+1"]


@pytest.mark.parametrize(
    ("body", "pointer", "words"),
    [
        (
            {"filter": "metrics.l00 < 1"},
            "/filter",
            "filter, column 1: 'metrics.l00' is not a path; did you mean metrics.l0",
        ),
        ({"order_by": "name up"}, "/order_by", "order_by, column 6"),
        ({"fields": ["metrics.x"]}, "/fields", "fields, column 1"),
        ({"fields": []}, "/fields", "there is none"),
        ({"limit": 10_001}, "/limit", "follow next_cursor, or ask for format=parquet"),
        ({"cursor": "bm8"}, None, "which this list did not give out"),
        ({"filter": "x" * 5_000}, "/filter", "at most 4000"),
    ],
)
def test_what_is_misread_is_told_with_its_place(
    quick_api: Api, body: dict[str, Any], pointer: str | None, words: str
) -> None:
    answer = quick_api.post(QUERY, body)
    assert answer.status_code == 422, answer.text
    problem = answer.json()
    assert words in problem["detail"]
    if pointer is not None:
        assert problem["errors"][0]["pointer"] == pointer


def test_lists_of_runs_and_tables_of_sweeps_take_filters_and_orders(lab: Api) -> None:
    assert _names(lab.get("/v1/runs", filter="metrics.l0 = 50", order_by="name", state="succeeded")) == ["b", "c"]
    assert _names(lab.get("/v1/runs", filter='name:"B"', owner="nobody")) == []
    refused = lab.get("/v1/runs", order_by="nam")
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "query:order_by")
    sweep = lab.post("/v1/sweeps", sweep_body(3)).json()["id"]
    path = f"/v1/sweeps/{sweep}/results"
    first = lab.get(path, filter="set.sparsity.coefficient > 0.001", limit=1).json()
    rest = lab.get(path, filter="set.sparsity.coefficient > 0.001", limit=1, cursor=first["next_cursor"]).json()
    assert [row["point"] for row in first["items"] + rest["items"]] == [1, 2]
    falling = lab.get(path, order_by="spec.sparsity.coefficient desc").json()["items"]
    assert [row["point"] for row in falling] == [2, 1, 0]


def test_files_have_all_rows_with_typed_columns(lab: Api) -> None:
    asked = {"order_by": "name", "fields": ["id", "name", "created_at", "metrics.l0", "spec.sae.k", "preemptible"]}
    rows = lab.post(QUERY, asked).json()["items"]
    parquet = pq.read_table(io.BytesIO(lab.post(f"{QUERY}?format=parquet", asked).content))
    arrow = pa.ipc.open_stream(lab.post(QUERY, asked, accept="application/vnd.apache.arrow.stream").content).read_all()
    assert parquet.equals(arrow)
    assert parquet.schema.types == [
        pa.string(),
        pa.string(),
        pa.timestamp("us", "UTC"),
        pa.float64(),
        pa.int64(),
        pa.bool_(),
    ]
    as_told = [{**row, "created_at": datetime.fromisoformat(row["created_at"])} for row in rows]
    assert parquet.to_pylist() == as_told

    answer = lab.post(QUERY, asked, accept="text/csv, */*;q=0.1")
    assert answer.headers["content-type"].startswith("text/csv")
    lines = list(csv.DictReader(io.StringIO(answer.text)))
    assert [line["name"] for line in lines] == ["'=1+1", "a", "b", "c"]  # no spreadsheet runs a name
    assert [(line["metrics.l0"], line["preemptible"]) for line in lines][:2] == [("", "false"), ("5.0", "false")]


def test_a_file_of_no_rows_is_a_file_all_the_same(api: Api) -> None:
    empty = pq.read_table(io.BytesIO(api.post(f"{QUERY}?format=parquet", {"fields": ["id", "metrics.l0"]}).content))
    assert (empty.num_rows, empty.schema.names) == (0, ["id", "metrics.l0"])


def test_a_wrong_cursor_for_a_file_is_told_before_anything_is_sent(quick_api: Api) -> None:
    assert quick_api.post(f"{QUERY}?format=csv", {"cursor": "bm8"}).status_code == 422


def test_only_so_many_files_are_made_at_a_time(quick_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "_making", threading.BoundedSemaphore(1))
    with results._making:
        refused = quick_api.post(f"{QUERY}?format=csv", {})
    assert (refused.status_code, "Retry-After" in refused.headers) == (503, True)
    assert quick_api.post(f"{QUERY}?format=csv", {}).status_code == 200


def test_who_hangs_up_ends_the_statement(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    began, ended = threading.Event(), threading.Event()

    def endless(*_: object, stop: Any, **__: object) -> Iterator[list[tuple[Any, ...]]]:
        began.set()
        try:
            while True:
                yield []
                stop.check()
        finally:
            ended.set()

    monkeypatch.setattr(querying, "batches", endless)
    with served(tmp_path, database_url) as service:
        place, token = service.http.base_url, service.http.headers["Authorization"]
        with socket.create_connection((place.host, place.port)) as client:
            head = f"POST {QUERY}?format=csv HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n"
            client.sendall(f"{head}Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}".encode())
            assert began.wait(10)
        assert ended.wait(10)
        monkeypatch.undo()
        assert service.http.post(f"{QUERY}?format=csv", json={"fields": ["id"]}).text == "id\r\n"
