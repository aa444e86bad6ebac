"""The artifact store is read in pieces, from a folder and from S3, and never outside a checkpoint."""

from __future__ import annotations

import hashlib
import io
import tracemalloc
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import fsspec
import httpx
import pytest
from moto.server import ThreadedMotoServer

from prolu.spec.report import CheckpointFile
from service.domain.errors import Damaged, NotFound, Unavailable
from service.domain.ranges import Span
from service.store.artifacts import Artifacts

NOW = datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC)
MIB = 1 << 20


@pytest.fixture
def s3_bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket on a real S3 server, found as an operator's would be: by the environment."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL_S3": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    filesystem = fsspec.filesystem("s3", skip_instance_cache=True)
    bucket = f"weights-{uuid4().hex}"
    filesystem.mkdir(bucket)
    yield f"s3://{bucket}/lab"
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    server.stop()


def write(root: str, content: dict[str, bytes]) -> None:
    filesystem, place = fsspec.url_to_fs(root)
    for name, data in content.items():
        filesystem.makedirs(f"{place}/runs/r", exist_ok=True)
        filesystem.pipe_file(f"{place}/runs/r/{name}", data)


def described(name: str, content: bytes) -> CheckpointFile:
    return CheckpointFile(name=name, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def test_a_folder_is_made_and_read(tmp_path: Path) -> None:
    artifacts = Artifacts(str(tmp_path / "artifacts"))
    artifacts.require()
    write(str(tmp_path / "artifacts"), {"a.json": b"{}", "manifest.json": b"[]"})
    assert b"".join(artifacts.stream("runs/r", described("a.json", b"{}"))) == b"{}"


def test_s3_is_read_as_a_folder_is(s3_bucket: str) -> None:
    artifacts = Artifacts(s3_bucket)
    artifacts.require()
    data = bytes(range(256)) * 10_000
    write(s3_bucket, {"a.bin": data, "manifest.json": b"[]"})
    assert b"".join(artifacts.stream("runs/r", described("a.bin", data))) == data
    assert b"".join(artifacts.stream("runs/r", described("a.bin", data), Span(100, 2_000_000))) == data[100:2_000_000]
    zipped = b"".join(artifacts.stream_zip("runs/r", [described("a.bin", data)], made_at=NOW))
    with zipfile.ZipFile(io.BytesIO(zipped)) as archive:
        assert archive.read("a.bin") == data
    with pytest.raises(NotFound, match="no longer"):
        artifacts.stream("runs/r", described("b.bin", data))
    with pytest.raises(Damaged, match=f"has {len(data)} bytes .* written with 3"):
        artifacts.stream("runs/r", described("a.bin", b"abc"))


def test_a_bucket_that_is_not_there_is_said(s3_bucket: str) -> None:
    with pytest.raises(Unavailable, match="no 'elsewhere'"):
        Artifacts("s3://elsewhere/lab").require()


def test_a_store_that_cannot_be_reached_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="cannot be reached"):
        Artifacts(str(tmp_path / "file" / "below")).require()
    with pytest.raises(Unavailable, match="cannot be reached"):
        Artifacts("nonsense://bucket").require()


def test_a_zip_of_large_files_takes_little_memory(tmp_path: Path) -> None:
    names = ["a.bin", "b.bin"]
    write(str(tmp_path), {**{name: bytes(24 * MIB) for name in names}, "manifest.json": b"[]"})
    artifacts = Artifacts(str(tmp_path))
    files = [described(name, bytes(24 * MIB)) for name in names]
    tracemalloc.start()
    total = sum(len(piece) for piece in artifacts.stream_zip("runs/r", files, made_at=NOW))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total > 48 * MIB
    assert peak < 12 * MIB


@pytest.mark.parametrize("name", ["../x", "../../x", "/etc/passwd", "a/../../x", "", ".", "..\\x", "x\0"])
def test_no_name_leads_out_of_the_store(tmp_path: Path, name: str) -> None:
    (tmp_path / "artifacts" / "runs" / "a").mkdir(parents=True)
    (tmp_path / "x").write_text("secret")
    (tmp_path / "artifacts" / "x").write_text("of another run")
    artifacts = Artifacts(str(tmp_path / "artifacts"))
    with pytest.raises(NotFound):
        artifacts.stream("runs", described(name, b""))
    with pytest.raises(NotFound):
        artifacts.stream(name, described("x", b""))


def test_s3_gives_an_address_at_which_the_file_can_be_read_for_a_while(s3_bucket: str, tmp_path: Path) -> None:
    artifacts, file = Artifacts(s3_bucket), described("a.bin", b"weights")
    write(s3_bucket, {"a.bin": b"weights"})
    url = artifacts.presigned("runs/r", file, seconds=60, disposition="attachment; filename*=UTF-8''a.bin")
    assert url is not None
    answer = httpx.get(url, headers={"Range": "bytes=2-"})
    assert (answer.status_code, answer.content) == (206, b"ights")
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''a.bin"
    with pytest.raises(NotFound, match="no longer"):
        artifacts.presigned("runs/r", described("b.bin", b""), seconds=60, disposition="attachment")
    write(str(tmp_path), {"a.bin": b"weights"})
    assert Artifacts(str(tmp_path)).presigned("runs/r", file, seconds=60, disposition="attachment") is None


def test_a_checkpoint_is_removed_with_its_folder_and_a_second_time_nothing_happens(tmp_path: Path) -> None:
    write(str(tmp_path), {"a.bin": b"1", "manifest.json": b"{}"})
    (tmp_path / "runs/r/sae_lens").mkdir()
    (tmp_path / "runs/r/sae_lens/cfg.json").write_text("{}")
    artifacts = Artifacts(str(tmp_path))
    for _ in range(2):
        artifacts.remove("runs/r", ["a.bin", "sae_lens/cfg.json"])
        assert [*(tmp_path / "runs").iterdir()] == []


def test_what_somebody_else_has_put_beside_a_checkpoint_is_not_removed_with_it(tmp_path: Path) -> None:
    write(str(tmp_path), {"a.bin": b"1", "manifest.json": b"{}", "mine.txt": b"precious"})
    Artifacts(str(tmp_path)).remove("runs/r", ["a.bin"])
    assert [path.name for path in (tmp_path / "runs/r").iterdir()] == ["mine.txt"]


def test_a_checkpoint_is_removed_from_s3_as_from_a_folder(s3_bucket: str) -> None:
    write(s3_bucket, {"a.bin": b"1", "manifest.json": b"{}", "b.bin": b"2"})
    artifacts = Artifacts(s3_bucket)
    for _ in range(2):
        artifacts.remove("runs/r", ["a.bin"])
        with pytest.raises(NotFound):
            artifacts.stream("runs/r", described("a.bin", b"1"))
        assert b"".join(artifacts.stream("runs/r", described("b.bin", b"2"))) == b"2"
