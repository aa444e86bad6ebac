"""Checkpoints over HTTP: listed, verified, pinned, deleted and pruned, by whom it may be."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from prolu.spec.report import CheckpointFile, CheckpointWritten, Succeeded
from tests.fixtures_api import Api
from tests.service.api.work import submit, sweep_body, work_on


def written(api: Api, run_id: str, step: int, *, final: bool = False) -> CheckpointWritten:
    path = f"runs/{run_id}/e1/step-{step}"
    folder = Path(api.settings.artifact_root) / path
    folder.mkdir(parents=True)
    contents = {"config.json": b"{}", "sae.safetensors": os.urandom(1000)}
    files = [
        CheckpointFile(name=name, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
        for name, content in contents.items()
    ]
    report = CheckpointWritten(step=step, tokens=step, path=path, files=files, final=final)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "manifest.json").write_text(report.model_dump_json(include={"step", "tokens", "files"}))
    return report


def trained(api: Api, run_id: str | None = None, steps: tuple[int, ...] = (10, 20, 30)) -> str:
    """A run that succeeded with a checkpoint at each of the steps."""
    run_id = run_id or submit(api)["id"]
    reports = [written(api, run_id, step, final=step == steps[-1]) for step in steps]
    work_on(api, run_id, *reports, Succeeded(step=steps[-1], metrics={"fvu": 0.5}))
    return run_id


def listed(api: Api, **params: Any) -> list[dict[str, Any]]:
    answer = api.get("/v1/checkpoints", **params)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def folder_of(api: Api, checkpoint: dict[str, Any]) -> Path:
    return Path(api.settings.artifact_root) / f"runs/{checkpoint['run_id']}/e1/step-{checkpoint['step']}"


def test_checkpoints_of_all_runs_are_listed_by_what_is_asked(api: Api) -> None:
    alone = trained(api)
    sweep = api.post("/v1/sweeps", sweep_body(1)).json()["id"]
    (of_sweep,) = [run["id"] for run in api.get(f"/v1/sweeps/{sweep}/runs").json()["items"]]
    trained(api, of_sweep)
    api.http.patch(f"/v1/checkpoints/{listed(api)[1]['id']}", json={"pinned": True})
    asked = {
        (): [(of_sweep, 30), (of_sweep, 20), (of_sweep, 10), (alone, 30), (alone, 20), (alone, 10)],
        (("run_id", alone),): [(alone, 30), (alone, 20), (alone, 10)],
        (("sweep_id", sweep), ("final", False)): [(of_sweep, 20), (of_sweep, 10)],
        (("final", True),): [(of_sweep, 30), (alone, 30)],
        (("pinned", True),): [(of_sweep, 20)],
        (("run_id", uuid4()),): [],
    }
    for params, expected in asked.items():
        assert [(one["run_id"], one["step"]) for one in listed(api, **dict(params))] == expected
    first = api.get("/v1/checkpoints", limit=4).json()
    rest = api.get("/v1/checkpoints", limit=4, cursor=first["next_cursor"]).json()
    assert [one["id"] for one in first["items"] + rest["items"]] == [one["id"] for one in listed(api)]
    assert rest["next_cursor"] is None


def test_a_checkpoint_that_is_as_it_was_written_is_good(quick_api: Api) -> None:
    (checkpoint, *_) = listed(quick_api, run_id=trained(quick_api))
    answer = quick_api.post(f"/v1/checkpoints/{checkpoint['id']}:verify")
    assert answer.status_code == 200
    assert answer.json()["good"] is True
    assert [(file["name"], file["state"]) for file in answer.json()["files"]] == [
        ("config.json", "good"),
        ("sae.safetensors", "good"),
        ("manifest.json", "good"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "state"),
    [
        ("sae.safetensors", b"x" * 1000, "altered"),
        ("sae.safetensors", b"x" * 999, "shorter"),
        ("sae.safetensors", b"x" * 1001, "longer"),
        ("sae.safetensors", None, "missing"),
        ("manifest.json", b'{"files": []}', "altered"),
        ("manifest.json", b"[" * 1000, "altered"),
        ("manifest.json", b" " * 1_000_001, "longer"),
        ("manifest.json", None, "missing"),
    ],
)
def test_a_file_that_differs_is_named_and_how(quick_api: Api, name: str, content: bytes | None, state: str) -> None:
    (checkpoint,) = listed(quick_api, run_id=trained(quick_api, steps=(10,)))
    place = folder_of(quick_api, checkpoint) / name
    place.unlink() if content is None else place.write_bytes(content)
    verdict = quick_api.post(f"/v1/checkpoints/{checkpoint['id']}:verify").json()
    assert verdict["good"] is False
    assert [(file["name"], file["state"]) for file in verdict["files"] if file["state"] != "good"] == [(name, state)]


def test_only_a_few_are_verified_at_once_and_the_others_are_asked_to_come_back(quick_api: Api) -> None:
    (checkpoint,) = listed(quick_api, run_id=trained(quick_api, steps=(10,)))
    verifying = quick_api.services.artifacts.verifying
    while verifying.acquire(blocking=False):
        pass
    answer = quick_api.post(f"/v1/checkpoints/{checkpoint['id']}:verify")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
    download = quick_api.get(f"/v1/checkpoints/{checkpoint['id']}/download", file="sae.safetensors")
    assert download.status_code == 200
    for _ in range(2):
        verifying.release()
    assert quick_api.post(f"/v1/checkpoints/{checkpoint['id']}:verify").status_code == 200


def test_a_pin_is_changed_by_whoever_saw_what_it_was(quick_api: Api) -> None:
    (checkpoint,) = listed(quick_api, run_id=trained(quick_api, steps=(10,)))
    path = f"/v1/checkpoints/{checkpoint['id']}"
    before = quick_api.get(path).headers["etag"]
    changed = quick_api.http.patch(path, json={"pinned": True}, headers={"If-Match": before})
    assert (changed.status_code, changed.json()["pinned"]) == (200, True)
    assert changed.headers["etag"] == quick_api.get(path).headers["etag"] != before
    stale = quick_api.http.patch(path, json={"pinned": False}, headers={"If-Match": before})
    assert (stale.status_code, stale.json()["code"]) == (412, "precondition_failed")
    assert quick_api.http.patch(path, json={}).status_code == 422
    assert quick_api.http.delete(path).json()["code"] == "conflict"


def test_a_deleted_checkpoint_is_gone_at_once_and_its_files_with_it(api: Api) -> None:
    run_id = trained(api)
    checkpoint = listed(api)[-1]
    path = f"/v1/checkpoints/{checkpoint['id']}"
    assert api.http.delete(path).status_code == 204
    for gone in (path, f"{path}/download"):
        assert api.get(gone).status_code == 404
    assert api.http.delete(path).status_code == 404
    assert api.post(f"{path}:verify").status_code == 404
    assert [one["step"] for one in api.get(f"/v1/runs/{run_id}/checkpoints").json()["items"]] == [20, 30]
    api.services.remover.remove_all()
    assert not folder_of(api, checkpoint).exists()


def test_a_prune_says_what_it_would_do_does_it_and_repeats_its_answer(api: Api) -> None:
    run_id = trained(api)
    path = f"/v1/runs/{run_id}:prune"
    would = api.post(path, {"keep_last": 1, "dry_run": True}).json()
    assert (would["deleted"], would["deleted_bytes"], len(listed(api))) == (2, 2004, 3)
    did = api.post(path, {"keep_last": 1}, idempotency_key="once")
    assert did.status_code == 200
    assert did.json() == {**would, "dry_run": False}
    assert api.post(path, {"keep_last": 1}, idempotency_key="once").json() == did.json()
    assert api.post(path, {"keep_last": 1}).json()["deleted"] == 0
    assert [one["step"] for one in listed(api)] == [30]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"keep_last": -1}, "/keep_last"),
        ({"keep_last": 10**30}, "/keep_last"),
        ({"keep_best": {"metric": "a'b"}}, "/keep_best/metric"),
        ({"keep_best": {"metric": 'x"]) --'}}, "/keep_best/metric"),
        ({"keep_best": {"metric": "no.such"}}, "/keep_best/metric"),
        ({"keep_best": {"metric": "fvu", "goal": "up"}}, "/keep_best/goal"),
        ({"keep_everything": True}, "/keep_everything"),
    ],
)
def test_a_policy_that_is_wrong_says_where(quick_api: Api, body: dict[str, Any], pointer: str) -> None:
    run_id = trained(quick_api, steps=(10,))
    answer = quick_api.post(f"/v1/runs/{run_id}:prune", body)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert len(listed(quick_api, run_id=run_id)) == 1


def test_only_its_owner_and_administrators_decide_about_a_checkpoint(quick_api: Api) -> None:
    run_id = trained(quick_api, steps=(10,))
    sweep = quick_api.post("/v1/sweeps", sweep_body(1)).json()["id"]
    path = f"/v1/checkpoints/{listed(quick_api, run_id=run_id)[0]['id']}"
    other = {"Authorization": f"Bearer {quick_api.token_of('grace')}"}
    for method, target, body in (
        ("PATCH", path, {"pinned": True}),
        ("DELETE", path, None),
        ("POST", f"/v1/runs/{run_id}:prune", {"dry_run": True}),
        ("POST", f"/v1/sweeps/{sweep}:prune", {}),
    ):
        answer = quick_api.http.request(method, target, json=body, headers=other)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), target
        assert "belongs to somebody else" in answer.json()["detail"]
    assert quick_api.http.get(path, headers=other).json()["pinned"] is False
    assert quick_api.http.post(f"{path}:verify", headers=other).status_code == 200


def test_what_is_not_there_is_not_found(quick_api: Api) -> None:
    nothing = uuid4()
    for method, path, body in (
        ("GET", f"/v1/checkpoints/{nothing}", None),
        ("PATCH", f"/v1/checkpoints/{nothing}", {"pinned": True}),
        ("DELETE", f"/v1/checkpoints/{nothing}", None),
        ("POST", f"/v1/checkpoints/{nothing}:verify", None),
        ("POST", f"/v1/runs/{nothing}:prune", {}),
        ("POST", f"/v1/sweeps/{nothing}:prune", {}),
    ):
        assert quick_api.http.request(method, path, json=body).status_code == 404, path


def test_what_was_decided_of_checkpoints_is_in_the_log_of_changes(quick_api: Api) -> None:
    run_id = trained(quick_api)
    last, _, first = listed(quick_api, run_id=run_id)
    path = f"/v1/checkpoints/{first['id']}"
    quick_api.http.patch(f"/v1/checkpoints/{last['id']}", json={"pinned": True})
    quick_api.http.delete(path)
    quick_api.post(f"/v1/runs/{run_id}:prune", {"dry_run": True})
    quick_api.post(f"/v1/runs/{run_id}:prune", {})
    newest = quick_api.get("/v1/audit", limit=3).json()["items"]
    assert [(entry["action"], entry["target_id"], entry["before"], entry["after"]) for entry in newest] == [
        ("prune_run", run_id, None, {"checkpoints_deleted": 1, "bytes": 1002}),
        ("delete_checkpoint", first["id"], None, {"deleted": True, "run_id": run_id, "step": 10}),
        ("change_checkpoint", last["id"], {"pinned": False}, {"pinned": True}),
    ]
