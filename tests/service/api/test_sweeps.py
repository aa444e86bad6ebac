"""`/v1/sweeps` and `/v1/queue` on both databases."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import httpx
from sqlalchemy import func, select, update

from prolu.client.wire import NodeRead, QueueRead, SweepPreview, SweepRead
from service.store.db import database_now
from service.store.models import DispatcherRow, RunRow, SweepRow
from tests.fixtures_api import Api, running_api
from tests.service.api.test_runs import walk
from tests.service.api.work import RUN, submit, sweep_body, work_on
from tests.service.store.operations import see
from tests.service.store.specs import metric

VARIANTS = [
    {"name": "relu", "set": {"sae.kind": "relu"}},
    {"name": "prolu-ste", "set": {"sae.estimator.kind": "ste"}},
]


def test_a_sweep_submits_a_run_for_every_point(api: Api) -> None:
    answer = api.post("/v1/sweeps", {**sweep_body(2, variants=VARIANTS), "priority": 60})
    assert answer.status_code == 201
    sweep = SweepRead.model_validate(answer.json())
    assert (sweep.name, sweep.count, sweep.states, sweep.priority) == ("demo", 4, {"queued": 4}, 60)
    runs = walk(api, f"/v1/sweeps/{sweep.id}/runs", limit=3)
    assert [run["name"] for run in runs] == [
        "demo/relu/coefficient=0.001",
        "demo/relu/coefficient=0.002",
        "demo/prolu-ste/coefficient=0.001",
        "demo/prolu-ste/coefficient=0.002",
    ]
    assert [(run["point"], run["variant"], run["priority"]) for run in runs][1] == (1, "relu", 60)
    assert walk(api, "/v1/runs", sweep_id=str(sweep.id)) == runs[::-1]


def test_a_sweep_comes_back_as_it_was_written(api: Api) -> None:
    grid = {"training.seed": [3, 1, 2], "sparsity.coefficient": [1e22, 1.0], "data.seed": [5]}
    body = sweep_body(grid=grid)
    sweep_id = api.post("/v1/sweeps", body).json()["id"]
    spec = api.get(f"/v1/sweeps/{sweep_id}").json()["spec"]
    assert list(spec["grid"]) == list(grid)
    assert repr(spec["grid"]) == repr(grid)
    assert spec["base"] == body["spec"]["base"]


def test_the_preview_says_what_would_be_submitted_and_writes_nothing(api: Api) -> None:
    body = sweep_body(2, variants=VARIANTS)
    answer = api.post("/v1/sweeps:preview", body)
    assert answer.status_code == 200
    preview = SweepPreview.model_validate(answer.json())
    with api.database.read() as session:
        for table in (RunRow, SweepRow):
            assert session.scalar(select(func.count()).select_from(table)) == 0
    sweep_id = api.post("/v1/sweeps", body).json()["id"]
    runs = walk(api, f"/v1/sweeps/{sweep_id}/runs")
    assert preview.count == len(runs)
    assert [(point.point, point.name, point.digest) for point in preview.points] == [
        (run["point"], run["name"], run["digest"]) for run in runs
    ]
    assert preview.points[0].set == {"sae.kind": "relu", "sparsity.coefficient": 0.001}


def test_seeds_repeat_every_point_in_the_preview_and_in_the_queue(api: Api) -> None:
    body = sweep_body(1, seeds=[0, 1])
    preview = SweepPreview.model_validate(api.post("/v1/sweeps:preview", body).json())
    assert [(point.name, point.set["training.seed"]) for point in preview.points] == [
        ("demo/coefficient=0.001,seed=0", 0),
        ("demo/coefficient=0.001,seed=1", 1),
    ]
    sweep_id = api.post("/v1/sweeps", body).json()["id"]
    assert [run["digest"] for run in walk(api, f"/v1/sweeps/{sweep_id}/runs")] == [
        point.digest for point in preview.points
    ]
    twice = api.post("/v1/sweeps", sweep_body(grid={"training.seed": [1]}, seeds=[0]))
    assert [error["pointer"] for error in twice.json()["errors"]] == ["/spec/grid/training.seed"]


def test_a_bad_point_refuses_the_whole_sweep_and_points_at_its_entry(api: Api) -> None:
    body = sweep_body(grid={"sparsity.coefficient": [0.1, -1.0]})
    for path in ("/v1/sweeps", "/v1/sweeps:preview"):
        answer = api.post(path, body)
        assert answer.status_code == 422
        (error,) = answer.json()["errors"]
        assert error["pointer"] == "/spec/grid/sparsity.coefficient/1"
        assert error["detail"].startswith("Point 1 (sparsity.coefficient=-1.0): ")
    assert walk(api, "/v1/runs") == []


def test_a_missing_file_points_at_where_the_sweep_names_it(api: Api) -> None:
    base = {**sweep_body()["spec"]["base"], "data": {"kind": "shards", "path": "here"}}
    (api.settings.data_roots[0] / "here").mkdir()
    (api.settings.data_roots[0] / "here" / "a.npy").write_bytes(b"x")
    variants = [{"name": "good"}, {"name": "bad", "set": {"data.path": "elsewhere"}}]
    answer = api.post("/v1/sweeps", sweep_body(base=base, variants=variants))
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/spec/variants/1/set/data.path"]


def test_a_sweep_of_too_many_points_is_refused(api: Api) -> None:
    seeds = list(range(1000))
    answer = api.post("/v1/sweeps", sweep_body(grid={"training.seed": seeds, "data.seed": seeds}))
    assert answer.status_code == 422
    assert "1000000 points" in answer.json()["detail"]


def test_sweeps_are_listed_newest_first_with_their_states(api: Api) -> None:
    ids = [api.post("/v1/sweeps", sweep_body(2, name=f"s{number}")).json()["id"] for number in range(3)]
    first = walk(api, f"/v1/sweeps/{ids[0]}/runs")[0]["id"]
    work_on(api, first, metric(1))
    found = walk(api, "/v1/sweeps", limit=2)
    assert [sweep["id"] for sweep in found] == ids[::-1]
    assert found[-1]["states"] == {"queued": 1, "running": 1}


def test_an_unknown_sweep_is_not_found_at_every_address(api: Api) -> None:
    for suffix in ("", "/runs", "/results", "/results_over_seeds", "/bias_statistics"):
        answer = api.get(f"/v1/sweeps/{uuid4()}{suffix}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_a_repeated_sweep_with_one_key_submits_once(api: Api) -> None:
    first = api.post("/v1/sweeps", sweep_body(), Idempotency_Key="k")
    again = api.post("/v1/sweeps", sweep_body(), Idempotency_Key="k")
    assert again.json() == first.json()
    assert list(again.json()["spec"]) == list(first.json()["spec"])
    assert len(walk(api, "/v1/runs")) == 3


def test_the_queue_shows_what_works_and_what_waits_in_order(api: Api) -> None:
    live, low, high = submit(api)["id"], submit(api)["id"], None
    high = api.post("/v1/runs", {"spec": submit(api)["spec"], "priority": 99}).json()["id"]
    work_on(api, live, metric(1))
    with api.database.begin() as session:
        see(session, NodeRead(name="a", cpus=2, gpus=0, memory_gb=16))
    shown = QueueRead.model_validate(api.get("/v1/queue", limit=2).json())
    assert [(entry.position, str(entry.run.id)) for entry in shown.live] == [(None, live)]
    assert [(entry.position, str(entry.run.id)) for entry in shown.waiting] == [(1, high), (2, low)]
    assert shown.waiting_count == 3
    assert [node.name for node in shown.nodes] == ["a"]
    assert shown.dispatcher_seen_at is not None


def test_more_than_the_cluster_has_is_refused_with_the_largest_node(api: Api) -> None:
    asks = {"gpus": 1.0, "cpus": 64}
    grid = {"resources.cpus": [1, 9]}
    assert api.post("/v1/sweeps", sweep_body(grid=grid)).status_code == 201  # nothing is known of the cluster yet
    with api.database.begin() as session:
        see(session, NodeRead(name="big", cpus=8, gpus=0, memory_gb=64))
    answer = api.post("/v1/runs", {"spec": {**submit(api)["spec"], "resources": asks}})
    assert answer.status_code == 422
    assert {error["pointer"] for error in answer.json()["errors"]} == {"/spec/resources/gpus", "/spec/resources/cpus"}
    assert "(big)" in answer.json()["detail"]
    refused = api.post("/v1/sweeps", sweep_body(grid=grid)).json()
    assert [error["pointer"] for error in refused["errors"]] == ["/spec/grid/resources.cpus/1"]


def test_less_memory_than_the_tensors_take_is_refused_at_its_place(api: Api) -> None:
    wide = {"kind": "prolu", "d_sae": 1_048_576}
    answer = api.post("/v1/runs", {"spec": {**RUN["spec"], "sae": wide}})
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/spec/resources/memory_gb"]
    assert "training takes at least" in answer.json()["detail"]
    enough = {**RUN["spec"], "sae": wide, "resources": {"memory_gb": 64}}
    assert api.post("/v1/runs", {"spec": enough}).status_code == 201
    body = sweep_body(grid={"resources.memory_gb": [2, 0.0001]})
    refused = api.post("/v1/sweeps", body).json()
    assert [error["pointer"] for error in refused["errors"]] == ["/spec/grid/resources.memory_gb/1"]
    assert refused["detail"].startswith("Point 1 (resources.memory_gb=0.0001): ")
    preview = SweepPreview.model_validate(api.post("/v1/sweeps:preview", body).json())
    assert [item.model_dump() for item in preview.refusals] == refused["errors"]
    assert preview.count == len(preview.points) == 2


def test_a_preview_shows_the_points_of_a_sweep_for_which_there_is_no_node(api: Api) -> None:
    with api.database.begin() as session:
        see(session, NodeRead(name="small", cpus=1, gpus=0, memory_gb=4))
    preview = SweepPreview.model_validate(
        api.post("/v1/sweeps:preview", sweep_body(grid={"resources.gpus": [1]})).json()
    )
    assert [point.set for point in preview.points] == [{"resources.gpus": 1}]
    assert [item.pointer for item in preview.refusals] == ["/spec/grid/resources.gpus/0"]
    assert api.post("/v1/sweeps:preview", sweep_body()).json()["refusals"] == []


def test_a_preview_tells_every_refusal_once_and_a_submission_the_first(api: Api) -> None:
    base = {**sweep_body()["spec"]["base"], "data": {"kind": "shards", "path": "x"}}
    with api.database.begin() as session:
        see(session, NodeRead(name="small", cpus=2, gpus=0, memory_gb=4))
    grid = {"data.path": ["here", "there"], "resources.cpus": [1, 3], "training.seed": [1, 2]}
    body = sweep_body(base={**base, "resources": {"memory_gb": 0.0001}}, grid=grid)
    preview = SweepPreview.model_validate(api.post("/v1/sweeps:preview", body).json())
    places = ["base/resources/memory_gb", "grid/data.path/0", "grid/resources.cpus/1", "grid/data.path/1"]
    assert [item.pointer for item in preview.refusals] == [f"/spec/{place}" for place in places]
    titles = [item.detail.partition(" (")[0] for item in preview.refusals]
    assert titles == ["Point 0", "Point 0", "Point 2", "Point 4"], "the first that is refused for it"
    (error,) = api.post("/v1/sweeps", body).json()["errors"]
    assert error == preview.refusals[0].model_dump()


def test_a_preview_tells_so_many_refusals_and_no_more(api: Api) -> None:
    base = {**sweep_body()["spec"]["base"], "data": {"kind": "shards", "path": "x"}}
    body = sweep_body(base=base, grid={"data.path": [f"p{number}" for number in range(60)]})
    preview = api.post("/v1/sweeps:preview", body).json()
    assert (preview["count"], len(preview["refusals"])) == (60, 50)


def test_a_node_of_a_dispatcher_that_is_gone_refuses_nothing(api: Api) -> None:
    asks = {"gpus": 1.0, "cpus": 64}
    with api.database.begin() as session:
        see(session, NodeRead(name="small", cpus=1, gpus=0, memory_gb=4))
        session.execute(update(DispatcherRow).values(seen_at=database_now(session) - timedelta(seconds=20)))
    assert api.post("/v1/runs", {"spec": {**RUN["spec"], "resources": asks}}).status_code == 422
    assert api.post("/v1/sweeps", sweep_body(grid={"resources.cpus": [64]})).status_code == 422
    with api.database.begin() as session:
        session.execute(update(DispatcherRow).values(seen_at=database_now(session) - timedelta(seconds=31)))
    assert submit(api, resources=asks)
    assert api.post("/v1/sweeps", sweep_body(grid={"resources.cpus": [64]})).status_code == 201
    assert [node["name"] for node in api.get("/v1/queue").json()["nodes"]] == ["small"], "people still see it"


def test_a_hub_out_of_reach_refuses_a_sweep_at_once_and_at_its_place(tmp_path: Path, sqlite_template: Path) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        raise httpx.ConnectTimeout("no route", request=request)

    shutil.copy(sqlite_template, tmp_path / "prolu.db")
    data = {"kind": "language_model", "block": 0, "tokens": 100, "corpus": {"kind": "python_docs"}}
    base = {**sweep_body()["spec"]["base"], "data": data}
    body = sweep_body(base=base, grid={"data.model": ["org/a", "org/b"], "data.seed": [1, 2, 3]})
    with running_api(tmp_path, hub_transport=httpx.MockTransport(answer)) as api:
        refused = api.post("/v1/sweeps", body)
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")
        assert [error["pointer"] for error in refused.json()["errors"]] == ["/spec/grid/data.model/0"]
        assert "'org/a', which could not be checked" in refused.json()["detail"]
        assert asked == ["/api/models/org/a"]
        asked.clear()
        preview = SweepPreview.model_validate(api.post("/v1/sweeps:preview", body).json())
        assert preview.refusals[0].model_dump() == refused.json()["errors"][0]
        assert [item.pointer for item in preview.refusals] == ["/spec/grid/data.model/0", "/spec/grid/data.model/1"]
        assert asked == ["/api/models/org/a", "/api/models/org/b"], "each once, whatever its seeds"
        run = api.post("/v1/runs", {"spec": {**base, "data": {**data, "model": "org/a"}}})
        assert [error["pointer"] for error in run.json()["errors"]] == ["/spec/data/model"]
