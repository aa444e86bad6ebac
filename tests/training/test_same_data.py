"""A run goes on with the data that it began with, or says that they are gone."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from prolu.data.opening import open_source
from prolu.data.places import DataError, Places
from prolu.spec.report import Report, Stopped, Succeeded
from prolu.spec.run import RunSpec
from prolu.training import CheckpointStore, train
from tests.training.running import stop_at

SpecMaker = Callable[..., RunSpec]
X = np.random.default_rng(0).standard_normal((400, 16)).astype(np.float32)


@pytest.fixture
def spec(make_spec: SpecMaker) -> RunSpec:
    """The small run on shards."""
    return make_spec(data={"kind": "shards", "path": "acts", "eval_samples": 50, "normalisation": "dataset_rms"})


def _write(root: Path) -> Path:
    (root / "acts").mkdir(parents=True)
    np.save(root / "acts" / "a.npy", X[:300])
    np.save(root / "acts" / "b.npy", X[300:])
    return root


def _train(spec: RunSpec, root: Path, store: CheckpointStore, **options: object) -> Report:
    places = Places(cache_dir=root / "cache", data_roots=(root,), hub_online=False)
    source = open_source(spec.data, places=places, notify=lambda _: None, should_stop=lambda: False)
    given = {"sink": lambda _: None, "should_stop": lambda: None, "clock": lambda: 0.0} | options
    return train(spec, source, checkpoints=store, **given)  # type: ignore[arg-type]


def _change_a_value(folder: Path) -> None:
    changed = X[:300].copy()
    changed[123, 4] += 1
    np.save(folder / "a.npy", changed)


def _add_a_file(folder: Path) -> None:
    np.save(folder / "c.npy", X[:10])


def _change_the_width(folder: Path) -> None:
    for name in ("a.npy", "b.npy"):
        np.save(folder / name, np.load(folder / name)[:, :8])


@pytest.mark.parametrize("change", [_change_a_value, _add_a_file, _change_the_width])
def test_a_resume_over_other_data_is_refused_and_the_folder_named(
    spec: RunSpec, store: CheckpointStore, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    root = _write(tmp_path / "root")
    assert isinstance(_train(spec, root, store, should_stop=stop_at(7)), Stopped)
    change(root / "acts")
    heard: list[Report] = []
    with pytest.raises(
        DataError,
        match=r"data\.path is 'acts', which no longer gives the activations that the run was trained on up to step 7: "
        r"then 400 rows in 2 files, sha256 \w{16}; now 4[01]0 rows in [23] files, sha256 \w{16}\. .* submit it again",
    ):
        _train(spec, root, store, resume_from="runs/a/e1/step-7", sink=heard.append)
    assert heard == []


def test_a_resume_on_another_machine_with_the_same_files_goes_on(
    spec: RunSpec, store: CheckpointStore, tmp_path: Path
) -> None:
    root = _write(tmp_path / "root")
    _train(spec, root, store, should_stop=stop_at(7))
    shutil.copytree(root / "acts", tmp_path / "other" / "acts")
    assert isinstance(_train(spec, tmp_path / "other", store, resume_from="runs/a/e1/step-7"), Succeeded)
