"""Checkpoints as bytes: one file with its checksum as ETag, or a zip of all, streamed."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog
from starlette.types import Message

from prolu.spec.report import CheckpointFile, CheckpointWritten
from tests.fixtures_api import Api
from tests.service.api.work import submit, work_on

WEIGHTS = os.urandom(3_000_000)


@dataclass(frozen=True)
class Stored:
    """A checkpoint in the artifact store, and its address."""

    folder: Path
    download: str
    sha256: str


@pytest.fixture
def stored(quick_api: Api) -> Stored:
    run_id = submit(quick_api)["id"]
    path = f"runs/{run_id}/e1/step-10"
    folder = Path(quick_api.settings.artifact_root) / path
    folder.mkdir(parents=True)
    (folder / "sae.safetensors").write_bytes(WEIGHTS)
    (folder / "config.json").write_text("{}")
    (folder / "manifest.json").write_text('{"files": []}')
    (folder / "sae_lens").mkdir()
    (folder / "sae_lens" / "cfg.json").write_text('{"architecture": "jumprelu"}')
    files = [
        CheckpointFile(name=name, bytes=(folder / name).stat().st_size, sha256=_sha256(folder / name))
        for name in ("config.json", "sae.safetensors", "sae_lens/cfg.json")
    ]
    work_on(quick_api, run_id, CheckpointWritten(step=10, tokens=100, path=path, files=files, final=False))
    checkpoint = quick_api.get(f"/v1/runs/{run_id}/checkpoints").json()["items"][0]
    return Stored(folder, f"/v1/checkpoints/{checkpoint['id']}/download", files[1].sha256)


def test_one_file_comes_with_its_checksum_and_length(quick_api: Api, stored: Stored) -> None:
    answer = quick_api.get(stored.download, file="sae.safetensors")
    assert answer.status_code == 200
    assert answer.content == WEIGHTS
    assert answer.headers["etag"] == f'"{stored.sha256}"'
    assert answer.headers["content-length"] == str(len(WEIGHTS))
    assert "sae.safetensors" in answer.headers["content-disposition"]


def test_a_file_that_is_at_hand_is_not_sent_again(quick_api: Api, stored: Stored) -> None:
    known = {"If-None-Match": f'"{stored.sha256}"'}
    answer = quick_api.http.get(stored.download, params={"file": "sae.safetensors"}, headers=known)
    assert (answer.status_code, answer.content) == (304, b"")
    other = {"If-None-Match": '"0000"'}
    answer = quick_api.http.get(stored.download, params={"file": "sae.safetensors"}, headers=other)
    assert answer.status_code == 200


@pytest.mark.parametrize("known", ["*", 'W/"{}"', '"0000", "{}"'])
def test_a_file_is_at_hand_by_any_form_of_its_tag(quick_api: Api, stored: Stored, known: str) -> None:
    headers = {"If-None-Match": known.format(stored.sha256)}
    for method in ("GET", "HEAD"):
        answer = quick_api.http.request(method, stored.download, params={"file": "sae.safetensors"}, headers=headers)
        assert (answer.status_code, answer.headers["etag"]) == (304, f'"{stored.sha256}"')


def test_a_broken_download_goes_on_where_it_stopped(quick_api: Api, stored: Stored) -> None:
    headers = {"Range": "bytes=1000000-", "If-Range": f'"{stored.sha256}"'}
    answer = quick_api.http.get(stored.download, params={"file": "sae.safetensors"}, headers=headers)
    assert answer.status_code == 206
    assert answer.content == WEIGHTS[1_000_000:]
    assert answer.headers["content-range"] == "bytes 1000000-2999999/3000000"
    assert answer.headers["content-length"] == "2000000"
    assert answer.headers["etag"] == f'"{stored.sha256}"'
    headers["If-Range"] = '"another file"'
    answer = quick_api.http.get(stored.download, params={"file": "sae.safetensors"}, headers=headers)
    assert (answer.status_code, answer.content) == (200, WEIGHTS)


def test_bytes_that_a_file_does_not_have_are_a_problem_that_says_its_size(quick_api: Api, stored: Stored) -> None:
    headers = {"Range": "bytes=3000000-"}
    answer = quick_api.http.get(stored.download, params={"file": "sae.safetensors"}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (416, "range_not_satisfiable")
    assert answer.headers["content-range"] == "bytes */3000000"


def test_a_look_tells_what_a_download_would_send_without_sending_it(quick_api: Api, stored: Stored) -> None:
    answer = quick_api.http.head(stored.download, params={"file": "sae.safetensors"})
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == "3000000"
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["etag"] == f'"{stored.sha256}"'
    assert quick_api.http.head(stored.download).headers["content-type"] == "application/zip"
    assert quick_api.http.head(stored.download, params={"file": "manifest.json"}).status_code == 200
    (stored.folder / "sae.safetensors").unlink()
    for params in ({"file": "sae.safetensors"}, {}):
        assert quick_api.http.head(stored.download, params=params).status_code == 404


@pytest.mark.parametrize("content", [b"", WEIGHTS[:-1], WEIGHTS + b"x"])
def test_a_file_of_another_size_is_a_problem_before_the_first_byte(
    quick_api: Api, stored: Stored, content: bytes
) -> None:
    (stored.folder / "sae.safetensors").write_bytes(content)
    for params in ({"file": "sae.safetensors"}, {}):
        answer = quick_api.get(stored.download, **params)
        assert (answer.status_code, answer.json()["code"]) == (409, "damaged")
        assert (
            f"has {len(content)} bytes in the artifact store, and was written with 3000000" in answer.json()["detail"]
        )


def test_a_manifest_that_grew_beyond_reason_is_not_read(quick_api: Api, stored: Stored) -> None:
    (stored.folder / "manifest.json").write_bytes(b" " * 1_000_001)
    for params in ({"file": "manifest.json"}, {}):
        answer = quick_api.get(stored.download, **params)
        assert (answer.status_code, answer.json()["code"]) == (409, "damaged")


def test_all_files_and_the_manifest_come_as_a_zip(quick_api: Api, stored: Stored) -> None:
    answer = quick_api.get(stored.download)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["config.json", "sae.safetensors", "sae_lens/cfg.json", "manifest.json"]
        assert archive.read("sae.safetensors") == WEIGHTS


def test_an_export_comes_as_a_zip_of_its_files_by_the_names_its_library_reads(quick_api: Api, stored: Stored) -> None:
    answer = quick_api.get(stored.download, format="sae_lens")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    assert "step-10-sae_lens.zip" in answer.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.namelist() == ["cfg.json"]
        assert archive.read("cfg.json") == b'{"architecture": "jumprelu"}'
    assert quick_api.get(stored.download, file="sae_lens/cfg.json").content == b'{"architecture": "jumprelu"}'


def test_an_export_that_the_run_did_not_ask_for_is_not_found_and_says_how_to_convert(
    quick_api: Api, stored: Stored
) -> None:
    answer = quick_api.get(stored.download, format="dictionary_learning")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert "has no dictionary_learning export" in answer.json()["detail"]
    assert "`prolu export " in answer.json()["detail"]
    assert quick_api.get(stored.download, format="onnx").status_code == 422


def test_a_file_and_an_export_cannot_be_asked_for_at_once(quick_api: Api, stored: Stored) -> None:
    answer = quick_api.get(stored.download, file="sae.safetensors", format="sae_lens")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert "either `file` or `format`" in answer.json()["detail"]


def test_the_manifest_can_be_had_alone(quick_api: Api, stored: Stored) -> None:
    assert quick_api.get(stored.download, file="manifest.json").json() == {"files": []}


@pytest.mark.parametrize("name", ["nothing", "../../../../prolu.db", "/etc/passwd", "..", "manifest.json/.."])
def test_a_file_that_the_checkpoint_does_not_have_is_not_found(quick_api: Api, stored: Stored, name: str) -> None:
    answer = quick_api.get(stored.download, file=name)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert "config.json, sae.safetensors, sae_lens/cfg.json, manifest.json" in answer.json()["detail"]


def test_a_name_that_no_file_has_is_refused(quick_api: Api, stored: Stored) -> None:
    for name in ("a\0b", "x" * 301):
        assert quick_api.get(stored.download, file=name).status_code == 422


def test_files_that_are_gone_from_the_store_are_not_found(quick_api: Api, stored: Stored) -> None:
    (stored.folder / "sae.safetensors").unlink()
    (stored.folder / "manifest.json").unlink()
    for params in ({"file": "sae.safetensors"}, {}):
        answer = quick_api.get(stored.download, **params)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        assert "no longer in the artifact store" in answer.json()["detail"]


def test_a_zip_that_breaks_off_in_the_middle_is_never_ended(quick_api: Api, stored: Stored) -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        await asyncio.Event().wait()  # the client stays and says nothing more
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        (stored.folder / "sae.safetensors").unlink(missing_ok=True)  # after its size was looked at
        sent.append(message)

    token = quick_api.http.headers["Authorization"].encode()
    headers = [(b"authorization", token)]
    scope = {"type": "http", "method": "GET", "path": stored.download, "query_string": b"", "headers": headers}
    with pytest.raises(RuntimeError, match="response already started"), structlog.testing.capture_logs() as logged:
        asyncio.run(quick_api.http.app(scope, receive, send))
    assert sent[0]["status"] == 200
    assert all(message["more_body"] for message in sent[1:])
    assert [entry["event"] for entry in logged] == ["request_failed", "request"]


def test_downloads_need_a_token_as_everything_does(quick_api: Api, stored: Stored) -> None:
    answer = quick_api.http.get(stored.download, headers={"Authorization": "Bearer wrong"})
    assert answer.status_code == 401


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
