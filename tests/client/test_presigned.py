"""Downloads by signed addresses, end to end: a real service, a real S3, real HTTP, and the client that follows."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import fsspec
import httpx
import pytest

from prolu.client import Client, ConnectionFailed
from prolu.spec.report import CheckpointFile, CheckpointWritten
from tests.s3_gate import KEY, REGION, SECRET, Gate, gate
from tests.service.api.serving import Served, served

WEIGHTS = os.urandom(3_000_000)
CONTENTS = {"config.json": b"{}", "sae.safetensors": WEIGHTS}


@dataclass(frozen=True)
class Place:
    """A service whose checkpoints lie in S3, and one checkpoint there."""

    gate: Gate
    http: httpx.Client
    client: Client
    checkpoint_id: UUID


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("presigned")
    with pytest.MonkeyPatch.context() as environment, gate() as store:
        for name, value in {
            "AWS_ENDPOINT_URL_S3": store.url,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": REGION,
        }.items():
            environment.setenv(name, value)
        s3 = fsspec.get_filesystem_class("s3")
        s3.clear_instance_cache()
        root = f"weights-{uuid4().hex}/lab"
        fsspec.filesystem("s3").mkdir(root.partition("/")[0])
        with served(folder, artifact_root=f"s3://{root}", presigned_seconds=60) as service:
            token = service.http.headers["Authorization"].removeprefix("Bearer ")
            with Client(str(service.http.base_url), token, sleep=lambda _seconds: None) as client:
                yield Place(store, service.http, client, written(service, root))
        s3.clear_instance_cache()


def written(service: Served, root: str) -> UUID:
    """What a worker would write and report."""
    run_id = service.submit()
    epoch = service.claim(run_id)
    path = f"runs/{run_id}/e1/step-5"
    files = [
        CheckpointFile(name=name, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
        for name, content in CONTENTS.items()
    ]
    report = CheckpointWritten(step=5, tokens=50, path=path, files=files, final=True)
    manifest = report.model_dump_json(include={"step", "tokens", "files"}).encode()
    for name, content in {**CONTENTS, "manifest.json": manifest}.items():
        fsspec.filesystem("s3").pipe_file(f"{root}/{path}/{name}", content)
    service.say(run_id, epoch, 1, report)
    listed = service.http.get(f"/v1/runs/{run_id}/checkpoints").json()["items"]
    return UUID(listed[0]["id"])


@pytest.fixture
def place(running: Place) -> Place:
    running.gate.fetched.clear()
    running.gate.tamper, running.gate.clock_ahead = False, timedelta(0)
    return running


def download_url(place: Place, **params: str) -> httpx.Response:
    return place.http.get(
        f"/v1/checkpoints/{place.checkpoint_id}/download", params={"file": "sae.safetensors", **params}
    )


def test_the_service_answers_with_an_address_of_the_store_that_gives_the_bytes_to_anybody(place: Place) -> None:
    answer = download_url(place)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (307, "no-store")
    assert answer.headers["Location"].startswith(place.gate.url)
    assert place.http.headers["Authorization"].removeprefix("Bearer ") not in answer.headers["Location"]
    given = httpx.get(answer.headers["Location"])
    assert (given.status_code, given.content) == (200, WEIGHTS)
    assert "sae.safetensors" in given.headers["Content-Disposition"]
    part = httpx.get(answer.headers["Location"], headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, WEIGHTS[10:20])


def test_the_sha256_of_a_file_at_hand_spares_the_way_to_the_store(place: Place) -> None:
    tag = place.http.head(
        f"/v1/checkpoints/{place.checkpoint_id}/download", params={"file": "sae.safetensors"}
    ).headers["ETag"]
    assert tag == f'"{hashlib.sha256(WEIGHTS).hexdigest()}"'
    url = f"/v1/checkpoints/{place.checkpoint_id}/download?file=sae.safetensors"
    assert place.http.get(url, headers={"If-None-Match": tag}).status_code == 304
    assert place.gate.fetched == []


def test_the_client_follows_without_its_token_and_verifies_what_comes(place: Place, tmp_path: Path) -> None:
    folder = place.client.checkpoints.download(place.checkpoint_id, tmp_path / "out")
    assert (folder / "sae.safetensors").read_bytes() == WEIGHTS
    assert len(place.gate.fetched) == len(CONTENTS), "the manifest comes from the service, which signs for files alone"
    assert all("authorization" not in headers for headers in place.gate.fetched)


def test_a_download_that_broke_goes_on_in_the_store_from_where_it_was(place: Place, tmp_path: Path) -> None:
    draft = tmp_path / f".out-{place.checkpoint_id}.partial"
    draft.mkdir()
    (draft / "sae.safetensors").write_bytes(WEIGHTS[:1_000_000])
    folder = place.client.checkpoints.download(place.checkpoint_id, tmp_path / "out")
    assert (folder / "sae.safetensors").read_bytes() == WEIGHTS
    assert [headers.get("range") for headers in place.gate.fetched] == [None, "bytes=1000000-"]


def test_an_address_that_has_expired_or_was_tampered_with_fails_in_the_words_of_the_store(
    place: Place, tmp_path: Path
) -> None:
    place.gate.clock_ahead = timedelta(seconds=61)
    with pytest.raises(
        ConnectionFailed, match=r"answers 403 Forbidden \(AccessDenied: Request has expired\); try again"
    ):
        place.client.checkpoints.download(place.checkpoint_id, tmp_path / "out")
    place.gate.clock_ahead, place.gate.tamper = timedelta(0), True
    with pytest.raises(ConnectionFailed, match=r"SignatureDoesNotMatch"):
        place.client.checkpoints.download(place.checkpoint_id, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    place.gate.tamper = False
    place.client.checkpoints.download(place.checkpoint_id, tmp_path / "out")
