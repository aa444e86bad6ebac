"""Checkpoints: whole or not at all, verified when read, on a disk and in an S3 store."""

import hashlib
import json
import os
import resource
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from moto.server import ThreadedMotoServer

from prolu.data.synthetic import SyntheticSource
from prolu.models import load_sae
from prolu.spec.run import RunSpec
from prolu.training import Checkpoint, CheckpointError, CheckpointStore, Learner, StorageError, load_checkpoint

SpecMaker = Callable[..., RunSpec]
FILES = ["config.json", "sae.safetensors", "training.safetensors"]
PATH = "runs/a/e1/step-3"


@pytest.fixture
def learner(make_spec: SpecMaker, source: SyntheticSource) -> Learner:
    """Three steps into the small run."""
    learner = Learner(make_spec(), source.d_in)
    for step in range(3):
        learner.step(source.batch(step, 32))
    return learner


@pytest.fixture
def written(learner: Learner, store: CheckpointStore, tmp_path: Path) -> Path:
    """The folder of a checkpoint on disk."""
    store.write(learner.checkpoint(), final=False)
    return tmp_path / PATH


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """An S3 server on a free port."""
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_root(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A fresh bucket."""
    import fsspec

    for name, value in {
        "AWS_ENDPOINT_URL": s3_endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
    }.items():
        monkeypatch.setenv(name, value)
    bucket = f"artifacts-{uuid.uuid4()}"
    filesystem = fsspec.filesystem("s3")
    filesystem.clear_instance_cache()
    fsspec.filesystem("s3").mkdir(bucket)
    return f"s3://{bucket}/store"


@contextmanager
def disk_that_refuses_files_above(size: int) -> Iterator[None]:
    """The kernel fails every write beyond `size` bytes of a file, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def assert_same(found: Checkpoint, expected: Checkpoint) -> None:
    assert found.config == expected.config
    for loaded, live in [(found.weights, expected.weights), (found.training, expected.training)]:
        assert loaded.keys() == live.keys()
        assert all(torch.equal(loaded[name], live[name]) for name in live)
        assert all(loaded[name].dtype == live[name].dtype for name in live)


def test_a_checkpoint_comes_back_to_the_bit(learner: Learner, store: CheckpointStore) -> None:
    report = store.write(learner.checkpoint(), final=True)
    assert (report.step, report.tokens, report.path, report.final) == (3, 96, PATH, True)
    assert_same(load_checkpoint(store.root, report.path), learner.checkpoint())


def test_a_file_url_is_as_good_as_a_path(learner: Learner, tmp_path: Path) -> None:
    root = f"file://{tmp_path}"
    report = CheckpointStore(root, "runs/a/e1").write(learner.checkpoint(), final=False)
    assert_same(load_checkpoint(root, report.path), learner.checkpoint())
    assert (tmp_path / PATH / "manifest.json").exists()


def test_a_checkpoint_comes_back_from_s3_to_the_bit(learner: Learner, s3_root: str) -> None:
    report = CheckpointStore(s3_root, "runs/a/e1").write(learner.checkpoint(), final=False)
    assert_same(load_checkpoint(s3_root, report.path), learner.checkpoint())
    assert torch.equal(load_sae(f"{s3_root}/{report.path}").W_enc, learner.sae.W_enc)


def test_a_missing_checkpoint_in_s3_is_missing(s3_root: str) -> None:
    with pytest.raises(CheckpointError, match=r"no manifest\.json"):
        load_checkpoint(s3_root, PATH)


def test_an_s3_store_that_does_not_answer_is_a_storage_error(
    learner: Learner, s3_root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fsspec

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    fsspec.filesystem("s3").clear_instance_cache()
    with pytest.raises(StorageError, match="Could not connect"):
        CheckpointStore(s3_root, "runs/a/e1").write(learner.checkpoint(), final=False)
    with pytest.raises(StorageError, match="Could not connect"):
        load_checkpoint(s3_root, PATH)


def test_the_folder_holds_the_files_and_a_manifest_with_their_checksums(written: Path) -> None:
    assert sorted(file.name for file in written.iterdir()) == sorted([*FILES, "manifest.json"])
    manifest = json.loads((written / "manifest.json").read_text())
    assert (manifest["step"], manifest["tokens"], manifest["version"]) == (3, 96, 1)
    for file in manifest["files"]:
        content = (written / file["name"]).read_bytes()
        assert file["bytes"] == len(content)
        assert file["sha256"] == hashlib.sha256(content).hexdigest()
    assert [file["name"] for file in manifest["files"]] == FILES


def test_the_config_holds_the_whole_spec(written: Path, learner: Learner) -> None:
    config = json.loads((written / "config.json").read_text())
    assert RunSpec.model_validate(config["spec"]) == learner.spec
    assert (config["d_in"], config["step"], config["tokens"], config["version"]) == (16, 3, 96, 1)


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o644)])
def test_all_files_of_a_checkpoint_may_be_read_by_whom_the_umask_allows(
    learner: Learner, store: CheckpointStore, tmp_path: Path, mask: int, mode: int
) -> None:
    before = os.umask(mask)
    try:
        store.write(learner.checkpoint(), final=False)
    finally:
        os.umask(before)
    modes = {file.name: oct(stat.S_IMODE(file.stat().st_mode)) for file in (tmp_path / PATH).iterdir()}
    assert modes == dict.fromkeys([*FILES, "manifest.json"], oct(mode))


def test_nothing_but_the_checkpoint_stays_behind(written: Path) -> None:
    assert [path.name for path in written.parent.iterdir()] == ["step-3"]


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_a_missing_file_is_named(store: CheckpointStore, written: Path, name: str) -> None:
    (written / name).unlink()
    with pytest.raises(CheckpointError, match=f"has no {name}"):
        load_checkpoint(store.root, PATH)


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_refused(store: CheckpointStore, written: Path, name: str) -> None:
    content = (written / name).read_bytes()
    (written / name).write_bytes(content[:-1])
    with pytest.raises(
        CheckpointError, match=rf"{name} has {len(content) - 1} bytes, its manifest says {len(content)}"
    ):
        load_checkpoint(store.root, PATH)


@pytest.mark.parametrize("name", FILES[1:])  # the config has a bound of its own
def test_a_file_that_grew_is_refused_and_not_read(store: CheckpointStore, written: Path, name: str) -> None:
    listed = (written / name).stat().st_size
    with (written / name).open("r+b") as file:
        file.truncate(2**40)
    with pytest.raises(CheckpointError, match=rf"{name} has {2**40} bytes, its manifest says {listed}"):
        load_checkpoint(store.root, PATH)


@pytest.mark.parametrize("name", FILES)
def test_one_flipped_bit_is_noticed(store: CheckpointStore, written: Path, name: str) -> None:
    content = bytearray((written / name).read_bytes())
    content[len(content) // 2] ^= 1
    (written / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"{name} has sha256 .* it was altered"):
        load_checkpoint(store.root, PATH)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version": 2}', b"\x80\x04pickle"])
def test_a_manifest_that_is_none_is_refused(store: CheckpointStore, written: Path, content: bytes) -> None:
    (written / "manifest.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"manifest\.json cannot be read"):
        load_checkpoint(store.root, PATH)


def test_a_file_the_manifest_does_not_list_is_refused(store: CheckpointStore, written: Path) -> None:
    manifest = json.loads((written / "manifest.json").read_text())
    manifest["files"] = manifest["files"][:1]
    (written / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="not listed in the manifest"):
        load_checkpoint(store.root, PATH)


@pytest.mark.parametrize("path", ["../elsewhere/step-3", "/etc", "runs/../../x"])
def test_a_path_outside_the_artifact_root_is_refused(store: CheckpointStore, path: str) -> None:
    with pytest.raises(CheckpointError, match="leads outside the artifact root"):
        load_checkpoint(store.root, path)


@pytest.mark.parametrize("limit", [100, 4_000, 8_000])
def test_a_full_disk_is_a_storage_error_and_leaves_nothing(
    learner: Learner, store: CheckpointStore, tmp_path: Path, limit: int
) -> None:
    # config.json has about 1 kB, sae.safetensors 5 kB, training.safetensors 12 kB: each limit fails at another file
    with disk_that_refuses_files_above(limit), pytest.raises(StorageError, match="File too large"):
        store.write(learner.checkpoint(), final=False)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_root_that_is_no_folder_is_a_storage_error(learner: Learner, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="Not a directory"):
        CheckpointStore(str(tmp_path / "file"), "runs/a/e1").write(learner.checkpoint(), final=False)


def test_a_failure_while_publishing_leaves_no_checkpoint(
    learner: Learner, store: CheckpointStore, tmp_path: Path
) -> None:
    (tmp_path / PATH / "training.safetensors").mkdir(parents=True)  # cannot be replaced by a file
    with pytest.raises(StorageError, match="Is a directory"):
        store.write(learner.checkpoint(), final=False)
    assert not (tmp_path / PATH).exists()


def test_writing_again_replaces_a_checkpoint(learner: Learner, store: CheckpointStore, written: Path) -> None:
    store.write(learner.checkpoint(), final=False)
    assert_same(load_checkpoint(store.root, PATH), learner.checkpoint())


def test_what_a_killed_writer_left_behind_is_no_checkpoint_and_does_no_harm(
    learner: Learner, store: CheckpointStore, tmp_path: Path
) -> None:
    partial = tmp_path / "runs/a/e1/.step-3.partial"
    partial.mkdir(parents=True)
    (partial / "sae.safetensors").write_bytes(b"half")
    with pytest.raises(CheckpointError, match=r"no manifest\.json"):
        load_checkpoint(store.root, PATH)
    store.write(learner.checkpoint(), final=False)
    assert_same(load_checkpoint(store.root, PATH), learner.checkpoint())
    assert not partial.exists()
