"""Exports and statistics on request over HTTP: asked for once, told where they are, downloaded where checkpoints are."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from prolu.spec.report import CheckpointFile, CheckpointWritten, Succeeded
from service.store import chore_work
from service.store.chore_work import Taken
from tests.fixtures_api import Api
from tests.service.api.people import person
from tests.service.api.work import submit, work_on
from tests.service.store.specs import snapshot

UNKNOWN = "01900000-0000-7000-8000-000000000000"
CONTENT = b'{"architecture": "jumprelu"}'


@pytest.fixture(scope="module")
def api(quick_api: Api) -> Api:
    return quick_api


@pytest.fixture
def checkpoint_id(api: Api) -> str:
    run_id = submit(api)["id"]
    path = f"runs/{run_id}/e1/step-10"
    folder = Path(api.settings.artifact_root) / path
    folder.mkdir(parents=True)
    files = []
    for name in ("config.json", "sae.safetensors", "training.safetensors"):
        (folder / name).write_bytes(CONTENT)
        files.append(described(name))
    (folder / "manifest.json").write_text('{"files": []}')
    written = CheckpointWritten(step=10, tokens=100, path=path, files=files, final=True)
    work_on(api, run_id, written, Succeeded(step=10, metrics={}))
    return str(api.get("/v1/checkpoints", run_id=run_id).json()["items"][0]["id"])


def described(name: str) -> CheckpointFile:
    return CheckpointFile(name=name, bytes=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest())


def take(api: Api) -> Taken:
    """What a dispatcher would do."""
    with api.database.begin() as session:
        return chore_work.take(session, str(uuid4()), at_once=1)[0]


def make(api: Api) -> None:
    """What a dispatcher and a worker would do with the oldest export."""
    taken = take(api)
    name = f"{taken.format}/cfg.json"
    file = Path(api.settings.artifact_root) / taken.target / name
    file.parent.mkdir(parents=True)
    file.write_bytes(CONTENT)
    outcome = {"files": [described(name).model_dump()], "notes": ["Rows are scaled."]}
    with api.database.begin() as session:
        assert chore_work.succeed(session, taken, outcome)


def test_an_export_is_accepted_made_once_and_downloaded_with_its_format(api: Api, checkpoint_id: str) -> None:
    url = f"/v1/checkpoints/{checkpoint_id}/exports"
    download = f"/v1/checkpoints/{checkpoint_id}/download"
    missing = api.get(download, format="sae_lens")
    assert missing.status_code == 404
    assert "have it made by POST" in missing.json()["detail"]
    asked = api.post(url, {"format": "sae_lens"})
    assert (asked.status_code, asked.json()["state"]) == (202, "queued")
    place = asked.headers["Location"]
    assert api.post(url, {"format": "sae_lens"}).headers["Location"] == place
    make(api)
    done = api.get(place).json()
    assert (done["state"], done["notes"]) == ("succeeded", ["Rows are scaled."])
    again = api.post(url, {})
    assert (again.status_code, again.json()["id"]) == (200, done["id"])
    file = api.get(download, file="sae_lens/cfg.json")
    assert (file.content, file.headers["ETag"]) == (CONTENT, f'"{done["files"][0]["sha256"]}"')
    part = api.http.get(download, params={"file": "sae_lens/cfg.json"}, headers={"Range": "bytes=2-5"})
    assert (part.status_code, part.content) == (206, CONTENT[2:6])
    assert api.get(download, format="sae_lens").headers["Content-Type"] == "application/zip"
    whole = api.get(f"/v1/checkpoints/{checkpoint_id}").json()
    assert all("sae_lens" not in one["name"] for one in whole["files"]), "the manifest vouches for the same as before"


def test_statistics_are_computed_again_and_shown(api: Api, checkpoint_id: str) -> None:
    asked = api.post(f"/v1/checkpoints/{checkpoint_id}:recompute")
    assert (asked.status_code, asked.json()["kind"], asked.json()["format"]) == (202, "recompute", None)
    taken = take(api)
    with api.database.begin() as session:
        chore_work.succeed(session, taken, snapshot(10).model_dump(mode="json", exclude={"kind"}))
    told = api.get(asked.headers["Location"]).json()["snapshot"]
    assert told["statistics"] == json.loads(snapshot(10).statistics.model_dump_json())
    assert (told["step"], api.post(f"/v1/checkpoints/{checkpoint_id}:recompute").status_code) == (10, 200)


def test_members_may_ask_of_anybodys_checkpoint_and_viewers_may_only_look(api: Api, checkpoint_id: str) -> None:
    url = f"/v1/checkpoints/{checkpoint_id}/exports"
    member, viewer = person(api, "mia"), person(api, "vic", role="viewer")
    assert viewer.post(url, {}).status_code == 403
    asked = member.post(url, {})
    assert (asked.status_code, asked.json()["asked_by"]) == (202, "mia")
    assert viewer.get(asked.headers["Location"]).json()["id"] == asked.json()["id"]
    entries = api.get("/v1/audit", target=checkpoint_id).json()["items"]
    assert [(one["user"], one["action"], one["after"]["format"]) for one in entries] == [
        ("mia", "export_checkpoint", "sae_lens")
    ]
    make(api)


def test_a_repetition_with_the_same_key_gets_the_same_answer(api: Api, checkpoint_id: str) -> None:
    url, key = f"/v1/checkpoints/{checkpoint_id}/exports", str(uuid4())
    first = api.post(url, {}, Idempotency_Key=key)
    assert api.post(url, {}, Idempotency_Key=key).json() == first.json()
    assert api.post(url, {"format": "dictionary_learning"}, Idempotency_Key=key).status_code == 422
    make(api)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/checkpoints/{id}/exports", {"format": "onnx"}, 422),
        ("/v1/checkpoints/{id}/exports", {"layout": "sae_lens"}, 422),
        (f"/v1/checkpoints/{UNKNOWN}/exports", {}, 404),
        (f"/v1/checkpoints/{UNKNOWN}:recompute", None, 404),
        ("/v1/checkpoints/nonsense:recompute", None, 422),
    ],
)
def test_what_is_wrong_is_told(api: Api, checkpoint_id: str, path: str, body: Any, status: int) -> None:
    answer = api.post(path.replace("{id}", checkpoint_id), body)
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_deleted_checkpoint_takes_what_was_made_of_it_along(api: Api, checkpoint_id: str) -> None:
    asked = api.post(f"/v1/checkpoints/{checkpoint_id}/exports", {})
    make(api)
    made = Path(api.settings.artifact_root) / "exports" / checkpoint_id
    assert made.is_dir()
    assert api.http.delete(f"/v1/checkpoints/{checkpoint_id}").status_code == 204
    api.services.remover.remove_all()
    assert not made.exists()
    assert api.get(asked.headers["Location"]).status_code == 404
