"""The verbs of `/v1/sweeps/{id}` and its PATCH, on both databases."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from prolu.client.wire import NodeRead
from prolu.spec.report import Failed, Succeeded
from service.store import queue
from tests.fixtures_api import Api
from tests.service.api.test_runs import walk
from tests.service.api.work import sweep_body, work_on
from tests.service.store.operations import see
from tests.service.store.specs import checkpoint, snapshot

VERBS = ["cancel", "pause", "resume", "retry_failed"]


def submitted(api: Api, values: int = 3, **changes: Any) -> tuple[str, list[str]]:
    sweep_id: str = api.post("/v1/sweeps", sweep_body(values, **changes)).json()["id"]
    return sweep_id, [run["id"] for run in walk(api, f"/v1/sweeps/{sweep_id}/runs")]


def settle(api: Api) -> None:
    with api.database.begin() as session:
        queue.settle(session)


def test_a_sweep_is_paused_resumed_and_cancelled(api: Api) -> None:
    sweep, ids = submitted(api)
    work_on(api, ids[0], Succeeded(step=100, metrics={}))
    states = []
    for verb in ("pause", "pause", "resume", "cancel"):
        answer = api.post(f"/v1/sweeps/{sweep}:{verb}")
        assert answer.status_code == 202
        settle(api)
        states.append(api.get(f"/v1/sweeps/{sweep}").json()["states"])
    assert states == [
        {"succeeded": 1, "paused": 2},
        {"succeeded": 1, "paused": 2},
        {"succeeded": 1, "queued": 2},
        {"succeeded": 1, "cancelled": 2},
    ]
    assert api.post(f"/v1/sweeps/{sweep}:cancel").status_code == 202
    for verb in ("pause", "resume", "retry_failed"):
        answer = api.post(f"/v1/sweeps/{sweep}:{verb}")
        assert (answer.status_code, answer.json()["code"]) == (409, "illegal_transition")
        assert "2 cancelled, 1 succeeded" in answer.json()["detail"]


def test_verbs_of_a_sweep_are_for_its_owner_and_administrators(api: Api) -> None:
    sweep, _ = submitted(api, 1)
    bob = {"Authorization": f"Bearer {api.token_of('bob')}"}
    for verb in VERBS:
        assert api.http.post(f"/v1/sweeps/{sweep}:{verb}", headers=bob).status_code == 403
        assert api.post(f"/v1/sweeps/{uuid4()}:{verb}").status_code == 404
    assert api.http.patch(f"/v1/sweeps/{sweep}", json={"priority": 1}, headers=bob).status_code == 403
    assert api.http.post(f"/v1/sweeps/{sweep}:extend", json=sweep_body(2), headers=bob).status_code == 403
    assert api.post(f"/v1/sweeps/{uuid4()}:extend", sweep_body(2)).status_code == 404


def test_tables_of_a_sweep_show_who_took_the_place_of_a_failed_run(api: Api) -> None:
    sweep, ids = submitted(api, 2)
    work_on(api, ids[0], snapshot(5), checkpoint(10), Failed(step=17, failure_class="user_error", message="no"))
    work_on(api, ids[1], snapshot(5), Succeeded(step=100, metrics={"l0": 7.0}))
    answer = api.post(f"/v1/sweeps/{sweep}:retry_failed", Idempotency_Key="k")
    assert (answer.status_code, answer.json()["states"]) == (202, {"queued": 1, "succeeded": 1})
    assert api.post(f"/v1/sweeps/{sweep}:retry_failed", Idempotency_Key="k").json() == answer.json()
    first, second = walk(api, f"/v1/sweeps/{sweep}/runs")
    assert (first["retry_of"], first["point"], second["id"]) == (ids[0], 0, ids[1])
    assert [row["run_id"] for row in walk(api, f"/v1/sweeps/{sweep}/results")] == [first["id"], ids[1]]
    groups = walk(api, f"/v1/sweeps/{sweep}/results_over_seeds")
    assert [group["run_ids"] for group in groups] == [[first["id"]], [ids[1]]]
    assert [row["run_id"] for row in walk(api, f"/v1/sweeps/{sweep}/bias_statistics")] == [ids[1]]
    assert len(walk(api, "/v1/runs", sweep_id=sweep)) == 3
    assert api.get(f"/v1/sweeps/{sweep}").json()["count"] == 2


def test_cancelled_runs_are_tried_again_if_asked(api: Api) -> None:
    sweep, _ = submitted(api, 2)
    api.post(f"/v1/sweeps/{sweep}:cancel")
    settle(api)
    assert api.post(f"/v1/sweeps/{sweep}:retry_failed").status_code == 409
    answer = api.post(f"/v1/sweeps/{sweep}:retry_failed", {"include_cancelled": True, "from_scratch": True})
    assert (answer.status_code, answer.json()["states"]) == (202, {"queued": 2})


def test_all_runs_that_are_tried_again_may_be_given_more_time(api: Api) -> None:
    sweep, ids = submitted(api, 3)
    for run_id in ids[:2]:
        work_on(api, run_id, Failed(step=17, failure_class="timeout", message="too long"))
    api.post(f"/v1/sweeps/{sweep}:retry_failed", {"limits": {"run_seconds": 7200}})
    runs = [api.get(f"/v1/runs/{run['id']}").json() for run in walk(api, f"/v1/sweeps/{sweep}/runs")]
    assert [run["spec"]["limits"]["run_seconds"] for run in runs] == [7200, 7200, None]
    assert api.post(f"/v1/sweeps/{sweep}:extend", sweep_body(4)).json()["states"] == {"queued": 4}, (
        "the points are the same"
    )


def test_a_repeated_wish_for_a_sweep_with_one_key_is_done_once(api: Api) -> None:
    sweep, _ = submitted(api, 2)
    first = api.post(f"/v1/sweeps/{sweep}:cancel", Idempotency_Key="k")
    settle(api)
    api.post(f"/v1/sweeps/{sweep}:retry_failed", {"include_cancelled": True})
    assert api.post(f"/v1/sweeps/{sweep}:cancel", Idempotency_Key="k").json() == first.json()
    assert {run["desired_state"] for run in walk(api, f"/v1/sweeps/{sweep}/runs")} == {"running"}


def test_a_sweep_is_extended_by_what_is_new_in_its_description(api: Api) -> None:
    sweep, ids = submitted(api, 2)
    api.http.patch(f"/v1/sweeps/{sweep}", json={"priority": 77, "tier": "low"})
    longer = sweep_body(4, max_concurrent=2, name="longer")
    answer = api.post(f"/v1/sweeps/{sweep}:extend", longer, Idempotency_Key="k")
    assert answer.status_code == 202
    assert (answer.json()["count"], answer.json()["states"], answer.json()["name"]) == (4, {"queued": 4}, "longer")
    assert answer.json()["spec"]["max_concurrent"] == 2
    assert api.post(f"/v1/sweeps/{sweep}:extend", longer, Idempotency_Key="k").json() == answer.json()
    runs = walk(api, f"/v1/sweeps/{sweep}/runs")
    assert [run["id"] for run in runs[:2]] == ids
    assert [(run["point"], run["priority"], run["tier"]) for run in runs[2:]] == [(2, 77, "low"), (3, 77, "low")]
    assert api.post(f"/v1/sweeps/{sweep}:extend", longer).json()["count"] == 4
    assert len(walk(api, "/v1/runs")) == 4


def test_another_limit_without_a_new_point_is_an_event_and_planned_with_at_once(api: Api) -> None:
    with api.database.begin() as session:
        see(session, NodeRead(name="n", cpus=8, gpus=0, memory_gb=64))
    sweep, ids = submitted(api, 3, max_concurrent=1)
    work_on(api, ids[0], Succeeded(step=100, metrics={}))
    work_on(api, ids[1])

    def cause() -> str:
        found: str = api.get(f"/v1/runs/{ids[2]}/explain").json()["cause"]
        return found

    assert cause() == "sweep_limit"
    assert api.post(f"/v1/sweeps/{sweep}:extend", sweep_body(3, max_concurrent=2)).status_code == 202
    assert cause() == "starts"
    changed = [
        [
            (event["epoch"], event["detail"])
            for event in walk(api, f"/v1/runs/{run_id}/events")
            if event["kind"] == "changed"
        ]
        for run_id in ids
    ]
    assert changed == [[], [(1, {"max_concurrent": 2})], [(None, {"max_concurrent": 2})]]
    api.post(f"/v1/sweeps/{sweep}:extend", sweep_body(3, max_concurrent=2, name="another name"))
    assert len(walk(api, f"/v1/runs/{ids[2]}/events")) == 2, "a name changes no plan"


def test_seeds_are_added_to_a_sweep_that_had_none(api: Api) -> None:
    sweep, ids = submitted(api, 2)
    work_on(api, ids[1], Succeeded(step=100, metrics={"l0": 7.0}))
    assert api.post(f"/v1/sweeps/{sweep}:extend", sweep_body(2, seeds=[0, 1, 2])).json()["count"] == 6
    groups = walk(api, f"/v1/sweeps/{sweep}/results_over_seeds")
    assert [group["seeds"] for group in groups] == [[0, 1, 2], [0, 1, 2]]
    assert [group["run_ids"][0] for group in groups] == ids


def test_a_description_that_lacks_points_is_refused_and_names_them(api: Api) -> None:
    sweep, _ = submitted(api, 3)
    answer = api.post(f"/v1/sweeps/{sweep}:extend", sweep_body(2))
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/spec")
    assert "Point 2 (sparsity.coefficient=0.003)" in answer.json()["detail"]
    wrong = sweep_body(3, base={**sweep_body()["spec"]["base"], "sae": {"kind": "prolu", "d_sae": 0}})
    assert api.post(f"/v1/sweeps/{sweep}:extend", wrong).json()["errors"][0]["pointer"] == "/spec/base/sae/d_sae"
    assert api.get(f"/v1/sweeps/{sweep}").json()["count"] == 3


def test_what_new_points_name_is_looked_up(api: Api) -> None:
    sweep, _ = submitted(api, 1)
    variants = [{"name": "elsewhere", "set": {"data": {"kind": "shards", "path": "not/there"}}}]
    fresh = api.post("/v1/sweeps", sweep_body(1, variants=[{"name": "here"}])).json()["id"]
    body = sweep_body(1, variants=[{"name": "here"}, *variants])
    answer = api.post(f"/v1/sweeps/{fresh}:extend", body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"].startswith("/spec/variants/1/set/data")
    assert api.post(f"/v1/sweeps/{sweep}:extend", body).status_code == 422


def test_the_place_of_a_sweep_is_changed_under_its_tag(api: Api) -> None:
    sweep, _ = submitted(api, 2)
    seen = api.get(f"/v1/sweeps/{sweep}").headers["ETag"]
    answer = api.http.patch(f"/v1/sweeps/{sweep}", json={"priority": 60}, headers={"If-Match": seen})
    assert (answer.status_code, answer.json()["priority"]) == (200, 60)
    assert {run["priority"] for run in walk(api, f"/v1/sweeps/{sweep}/runs")} == {60}
    late = api.http.patch(f"/v1/sweeps/{sweep}", json={"priority": 1}, headers={"If-Match": seen})
    assert (late.status_code, late.json()["code"]) == (412, "precondition_failed")
