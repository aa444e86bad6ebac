"""Where `evaluate` looks for the data of a run: where its service would, and never in whatever folder it is called in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
from moto.server import ThreadedMotoServer

from prolu.data.opening import open_source
from prolu.data.places import Places
from prolu.offline import __main__ as command
from prolu.spec.report import Succeeded
from prolu.spec.run import RunSpec
from prolu.training import CheckpointStore, train
from tests.offline.conftest import DOCUMENT

SHARDS = {"kind": "shards", "path": "acts", "eval_samples": 32}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The service's folder; the current one is another."""
    monkeypatch.setenv("PROLU_DATA_DIR", str(tmp_path / "home"))
    monkeypatch.delenv("PROLU_DATA_ROOTS", raising=False)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    return tmp_path / "home"


@pytest.fixture
def run_of_shards(tmp_path: Path, home: Path) -> tuple[str, float]:
    """The final checkpoint of a run on `acts` below tmp_path/lab, and its fvu; then the shards lie nowhere else."""
    put(tmp_path / "lab", seed=0)
    return trained(tmp_path, SHARDS, str(tmp_path / "lab"))


def trained(tmp_path: Path, data: dict[str, Any], root: str) -> tuple[str, float]:
    training = {**DOCUMENT["training"], "gradient_alignment": None}
    spec = RunSpec.model_validate({**DOCUMENT, "data": data, "training": training})
    places = Places.of(tmp_path / "cache", [root], hub_online=False)
    source = open_source(spec.data, places=places, notify=lambda _: None, should_stop=lambda: False)
    store = CheckpointStore(str(tmp_path / "artifacts"), "run")
    end = train(spec, source, checkpoints=store, sink=lambda _: None, should_stop=lambda: None)
    assert isinstance(end, Succeeded)
    return str(tmp_path / "artifacts" / "run" / "step-12"), end.metrics["fvu"]


def put(root: Path, *, seed: int) -> None:
    (root / "acts").mkdir(parents=True)
    x = torch.randn(300, 8, generator=torch.Generator().manual_seed(seed))
    np.save(root / "acts" / "a.npy", x.numpy())


def fvu(capsys: pytest.CaptureFixture[str], *arguments: str) -> float:
    status = command.run(["evaluate", *arguments, "--no-hub", "--json"])
    out, err = capsys.readouterr()
    assert status == 0, err
    return float(json.loads(out)["metrics"]["fvu"])


def test_the_operators_roots_hold_the_data_of_a_run_and_the_current_folder_does_not(
    run_of_shards: tuple[str, float],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, measured = run_of_shards
    put(Path.cwd(), seed=1)
    monkeypatch.setenv("PROLU_DATA_ROOTS", f"{tmp_path / 'lab'}:s3://lab/other")
    assert fvu(capsys, folder) == pytest.approx(measured, rel=1e-6)
    monkeypatch.delenv("PROLU_DATA_ROOTS")
    assert fvu(capsys, folder, "--data-root", str(tmp_path / "lab")) == pytest.approx(measured, rel=1e-6)
    assert fvu(capsys, folder, "--data-root", "../lab") == pytest.approx(measured, rel=1e-6)


def test_without_a_word_of_roots_they_are_the_services_folder(
    run_of_shards: tuple[str, float], home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, measured = run_of_shards
    put(Path.cwd(), seed=1)
    assert command.run(["evaluate", folder, "--no-hub"]) == 2
    assert f"does not exist below the data roots ({home / 'data'});" in capsys.readouterr().err
    (tmp_path / "lab").rename(home.parent / "data")
    home.mkdir()
    (home.parent / "data").rename(home / "data")
    assert fvu(capsys, folder) == pytest.approx(measured, rel=1e-6)


def test_a_file_of_ones_own_is_read_from_here_or_from_anywhere(
    run_of_shards: tuple[str, float], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, measured = run_of_shards
    put(Path.cwd(), seed=1)
    Path("here.json").write_text(json.dumps(SHARDS))
    Path("there.json").write_text(json.dumps({**SHARDS, "path": str(tmp_path / "lab" / "acts")}))
    assert fvu(capsys, folder, "--data", "here.json") != pytest.approx(measured, rel=1e-3)
    assert fvu(capsys, folder, "--data", "there.json") == pytest.approx(measured, rel=1e-6)


def test_a_run_on_an_object_store_is_measured_below_the_operators_prefix(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://{host}:{port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    store_class = fsspec.get_filesystem_class("s3")
    store_class.clear_instance_cache()
    try:
        s3 = fsspec.filesystem("s3")
        s3.mkdir("lab")
        put(tmp_path / "lab", seed=0)
        s3.put(str(tmp_path / "lab" / "acts" / "a.npy"), "lab/acts/a.npy")
        folder, measured = trained(tmp_path, {**SHARDS, "path": "s3://lab/acts"}, "s3://lab")
        assert command.run(["evaluate", folder, "--no-hub"]) == 2
        assert f"outside the data roots of this service ({home / 'data'})" in capsys.readouterr().err
        monkeypatch.setenv("PROLU_DATA_ROOTS", "s3://lab")
        assert fvu(capsys, folder) == pytest.approx(measured, rel=1e-6)
    finally:
        store_class.clear_instance_cache()
        server.stop()


@pytest.mark.parametrize("setting", [True, False])
def test_wrong_roots_are_told_without_their_secrets(
    run_of_shards: tuple[str, float], setting: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = "s3://key:hunter2@lab/x"
    if setting:
        monkeypatch.setenv("PROLU_DATA_ROOTS", root)
    assert command.run(["evaluate", run_of_shards[0], *([] if setting else ["--data-root", root])]) == 2
    err = capsys.readouterr().err
    assert ("The setting PROLU_DATA_ROOTS is wrong: " if setting else "--data-root is a URL with credentials") in err
    assert "hunter2" not in err
