"""`prolu track`, and what is said where a tracker is not installed or not named well."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from prolu.client.cli.app import BAD_INPUT, FAILED, NOT_YOURS, OK
from prolu.client.trackers import MLflow, TensorBoard, Tracker, WeightsAndBiases
from tests.client.conftest import Prolu
from tests.client.trackers.conftest import Told


def test_a_run_is_exported_and_its_place_told(prolu: Prolu, live: Told, tmp_path: Path) -> None:
    status, out, err = prolu("track", str(live.id), "--to", "tensorboard:boards")
    assert status == OK
    assert "1 of 1 runs have not ended" in err
    (line,) = out.splitlines()[1:]
    assert line.split()[:3] == [str(live.id)[-8:], "3", "50"]
    live.tell(100)
    live.end()
    status, out, _ = prolu("track", "last", "--to", "tensorboard:boards", "--follow", "--json")
    (exported,) = json.loads(out)
    assert (status, exported["rows"], exported["last_step"], exported["ended"]) == (OK, 2, 100, True)
    assert (tmp_path / exported["place"]).is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--to", "boards"], "--to must be tensorboard:DIR, mlflow:URI or wandb:"),
        (["--to", "wandb:"], "--to must be"),
        (["--to", "tensorboard:"], "--to must be"),
        (["--to", "tensorboard:x", "--offline"], "--offline is of wandb"),
        (["--to", "wandb:x", "--experiment", "y"], "--experiment is MLflow's"),
    ],
)
def test_a_tracker_that_is_not_named_well_is_refused(prolu: Prolu, arguments: list[str], said: str) -> None:
    status, _, err = prolu("track", *arguments)
    assert status == BAD_INPUT
    assert said in err


def test_what_is_not_there_is_told(prolu: Prolu) -> None:
    assert prolu("track", "01900000-0000-7000-8000-000000000000", "--to", "tensorboard:x")[0] == NOT_YOURS


def test_a_package_that_is_missing_is_named_with_its_extra(
    prolu: Prolu, ended: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package, extra, words in [
        ("tensorboard", "tensorboard", ["track", str(ended.id), "--to", "tensorboard:x"]),
        ("mlflow", "mlflow", ["track", str(ended.id), "--to", "mlflow:sqlite:///x.db"]),
        ("wandb", "wandb", ["track", str(ended.id), "--to", "wandb:x"]),
        ("huggingface_hub", "hub", ["push", str(ended.id), "lab/sae"]),
    ]:
        for name in [name for name in sys.modules if name.partition(".")[0] == package]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, package, None)  # what the import system does for a package that is not there
        status, _, err = prolu(*words)
        assert status == FAILED
        assert f'run pip install "prolu[{extra}]"' in err


def test_trackers_are_light_until_one_is_used() -> None:
    script = "import sys, prolu.client.trackers; print(*{'tensorboard', 'mlflow', 'wandb'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "\n"


def test_every_tracker_does_what_trackers_do() -> None:
    trackers: list[Tracker] = [TensorBoard("x"), MLflow("sqlite://"), WeightsAndBiases("x")]
    assert all(isinstance(tracker.failures, tuple) for tracker in trackers)
