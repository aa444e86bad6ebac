"""Tags, notes, pins and the archive of runs and sweeps: changed by whoever saw what they were, and never what is trained."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from prolu.spec.report import Succeeded
from tests.fixtures_api import Api
from tests.service.api.work import submit, sweep_body, work_on


def change(api: Api, path: str, body: dict[str, Any], **headers: str) -> httpx.Response:
    return api.http.patch(path, json=body, headers=headers)


def ended(api: Api, run_id: str | None = None) -> str:
    run_id = run_id or submit(api)["id"]
    work_on(api, run_id, Succeeded(step=10, metrics={"fvu": 0.5}))
    return run_id


def sweep_of(api: Api, runs: int = 2) -> tuple[str, list[str]]:
    sweep = api.post("/v1/sweeps", sweep_body(runs)).json()["id"]
    return sweep, [run["id"] for run in api.get(f"/v1/sweeps/{sweep}/runs").json()["items"]]


def ids(api: Api, path: str, **params: Any) -> set[str]:
    return {item["id"] for item in api.get(path, **params).json()["items"]}


@pytest.mark.parametrize("kind", ["runs", "sweeps"])
def test_what_people_say_is_kept_with_runs_and_sweeps_that_have_ended_too(api: Api, kind: str) -> None:
    identity = ended(api) if kind == "runs" else sweep_of(api)[0]
    path = f"/v1/{kind}/{identity}"
    fresh = api.get(path).json()
    assert [fresh[name] for name in ("tags", "note", "pinned", "archived")] == [[], None, False, False]
    said = {"tags": ["paper:figure-3", "baseline", "baseline"], "note": "# Good\n\tat *last*", "pinned": True}
    changed = change(api, path, said)
    assert changed.status_code == 200, changed.text
    assert changed.json()["tags"] == ["baseline", "paper:figure-3"]
    assert {**fresh, **said, "tags": changed.json()["tags"]} == changed.json() == api.get(path).json()
    assert change(api, path, {"note": "", "tags": []}).json() == {**fresh, "pinned": True}
    listed = api.get(f"/v1/{kind}").json()["items"]
    assert [item["pinned"] for item in listed if item["id"] == identity] == [True]


def test_a_change_is_refused_to_whoever_saw_something_else(quick_api: Api) -> None:
    path = f"/v1/runs/{ended(quick_api)}"
    before = quick_api.get(path).headers["etag"]
    for body in ({"tags": ["a"]}, {"note": "b"}, {"pinned": True}, {"archived": True}):
        tag = quick_api.get(path).headers["etag"]
        changed = change(quick_api, path, body, **{"If-Match": tag})
        assert changed.status_code == 200
        assert changed.headers["etag"] not in (tag, before)
        assert change(quick_api, path, {"note": "late"}, **{"If-Match": tag}).status_code == 412
    assert change(quick_api, path, {"priority": 10, "note": "both"}).json()["code"] == "illegal_transition"
    assert quick_api.get(path).json()["note"] == "b"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"tags": ["a\nb"]}, "/tags/0"),
        ({"tags": ["ok", "\x1b[2J"]}, "/tags/1"),
        ({"tags": ["a\u202eb"]}, "/tags/0"),
        ({"tags": [""]}, "/tags/0"),
        ({"tags": ["../x"]}, "/tags/0"),
        ({"tags": ["a:b:c"]}, "/tags/0"),
        ({"tags": [":b"]}, "/tags/0"),
        ({"tags": ["x" * 101]}, "/tags/0"),
        ({"tags": [f"t{number}" for number in range(51)]}, "/tags"),
        ({"tags": "baseline"}, "/tags"),
        ({"note": "x" * 10_001}, "/note"),
        ({"note": "\x00"}, "/note"),
        ({"note": "\x1b[31m"}, "/note"),
        ({"pinned": 3}, "/pinned"),
        ({}, ""),
    ],
)
def test_what_cannot_be_said_is_refused_and_named(quick_api: Api, body: dict[str, Any], pointer: str) -> None:
    path = f"/v1/runs/{submit(quick_api)['id']}"
    answer = change(quick_api, path, body)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


def test_tags_are_of_any_script(quick_api: Api) -> None:
    path = f"/v1/runs/{submit(quick_api)['id']}"
    assert change(quick_api, path, {"tags": ["\u65e5\u672c:v1.2", "été"]}).json()["tags"] == [
        "été",
        "\u65e5\u672c:v1.2",
    ]


def test_what_is_archived_is_out_of_the_lists_until_it_is_asked_for(api: Api) -> None:
    stays, goes = ended(api), ended(api)
    assert change(api, f"/v1/runs/{goes}", {"archived": True}).status_code == 200
    assert ids(api, "/v1/runs") == {stays}
    assert ids(api, "/v1/runs", archived="true") == {stays, goes}
    assert api.get(f"/v1/runs/{goes}").json()["archived"] is True
    change(api, f"/v1/runs/{goes}", {"archived": False})
    assert ids(api, "/v1/runs") == {stays, goes}


def test_a_sweep_goes_into_the_archive_with_its_runs_and_comes_out_with_them(api: Api) -> None:
    sweep, runs = sweep_of(api)
    other, _ = sweep_of(api, 1)
    ended(api, runs[0])
    refused = change(api, f"/v1/sweeps/{sweep}", {"archived": True, "note": "all done"})
    assert (refused.status_code, refused.json()["code"]) == (409, "illegal_transition")
    assert "is queued" in refused.json()["detail"]
    assert api.get(f"/v1/sweeps/{sweep}").json()["note"] is None
    ended(api, runs[1])
    assert change(api, f"/v1/sweeps/{sweep}", {"archived": True}).status_code == 200
    assert ids(api, "/v1/sweeps") == {other}
    assert ids(api, "/v1/sweeps", archived="true") == {sweep, other}
    assert not ids(api, "/v1/runs") & {*runs}
    assert ids(api, "/v1/runs", sweep_id=sweep) == {*runs} == ids(api, f"/v1/sweeps/{sweep}/runs")
    change(api, f"/v1/sweeps/{sweep}", {"archived": False})
    assert {*runs} < ids(api, "/v1/runs")


def test_what_has_not_ended_is_not_archived(quick_api: Api) -> None:
    answer = change(quick_api, f"/v1/runs/{submit(quick_api)['id']}", {"archived": True})
    assert (answer.status_code, answer.json()["code"]) == (409, "illegal_transition")
    assert "is queued; archive it once it has ended" in answer.json()["detail"]


def test_a_change_is_an_event_and_an_entry_in_the_log_of_changes(quick_api: Api) -> None:
    run_id = ended(quick_api)
    change(quick_api, f"/v1/runs/{run_id}", {"tags": ["a"], "note": "long words", "pinned": False})
    last = quick_api.get(f"/v1/runs/{run_id}/events").json()["items"][-1]
    assert (last["kind"], last["detail"]) == ("changed", {"tags": ["a"], "note": True})
    (entry,) = quick_api.get("/v1/audit", limit=1).json()["items"]
    assert (entry["before"], entry["after"]) == ({"tags": [], "note": None}, {"tags": ["a"], "note": "long words"})
    before = quick_api.get(f"/v1/runs/{run_id}/events").json()["items"]
    change(quick_api, f"/v1/runs/{run_id}", {"tags": ["a"]})
    assert quick_api.get(f"/v1/runs/{run_id}/events").json()["items"] == before


def test_only_its_owner_and_administrators_say_something_of_a_run(quick_api: Api) -> None:
    other = {"Authorization": f"Bearer {quick_api.token_of('grace')}"}
    for path in (f"/v1/runs/{ended(quick_api)}", f"/v1/sweeps/{sweep_of(quick_api)[0]}"):
        assert quick_api.http.patch(path, json={"tags": ["mine"]}, headers=other).status_code == 403
        assert quick_api.get(path).json()["tags"] == []
