"""What the data are is said by their content: alike wherever and however they are opened, and other for other data."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from prolu.data.places import Places
from prolu.data.shards import open_shards
from prolu.data.synthetic import SyntheticSource
from prolu.spec import ShardsData, SyntheticData

X = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Forty rows in three shards, one of each kind."""
    folder = tmp_path / "root" / "acts"
    folder.mkdir(parents=True)
    np.save(folder / "a.npy", X[:20])
    save_file({"activations": torch.from_numpy(X[20:30])}, folder / "b.safetensors")
    _write_parquet(folder / "c.parquet", X[30:])
    return folder


def _write_parquet(path: Path, rows: np.ndarray) -> None:
    pq.write_table(pa.table({"activations": pa.array(list(rows), pa.list_(pa.float32()))}), path)


def _identity(folder: Path, cache: str = "cache") -> str:
    root = folder.parent
    spec = ShardsData(path=folder.name, eval_samples=4, normalisation="none")
    places = Places(cache_dir=root.parent / cache, data_roots=(root,), hub_online=False)
    return open_shards(spec, places, notify=lambda _: None, should_stop=lambda: False).identity


def test_the_same_files_are_the_same_data_on_every_machine(folder: Path, tmp_path: Path) -> None:
    first = _identity(folder)
    assert first.startswith("40 rows in 3 files, sha256 ")
    assert _identity(folder) == first  # remembered
    elsewhere = tmp_path / "elsewhere" / "acts"
    shutil.copytree(folder, elsewhere)
    for path in elsewhere.iterdir():
        os.utime(path, (1, 1))
    assert _identity(elsewhere, "another cache") == first


def _add(folder: Path) -> None:
    np.save(folder / "d.npy", X[:5])


def _remove(folder: Path) -> None:
    (folder / "b.safetensors").unlink()


def _rewrite(folder: Path) -> None:
    """One value changes; size and time do not."""
    state = (folder / "a.npy").stat()
    np.save(folder / "a.npy", np.where(np.arange(20)[:, None] == 7, 0, X[:20]))
    os.utime(folder / "a.npy", ns=(state.st_atime_ns, state.st_mtime_ns))


def _rewrite_parquet(folder: Path) -> None:
    _write_parquet(folder / "c.parquet", X[30:] + 1)


def _reorder(folder: Path) -> None:
    (folder / "a.npy").rename(folder / "z.npy")


def _reshape(folder: Path) -> None:
    """The same bytes as rows of another width."""
    for path in folder.iterdir():
        path.unlink()
    np.save(folder / "a.npy", X.reshape(60, 2))


@pytest.mark.parametrize("change", [_add, _remove, _rewrite, _rewrite_parquet, _reorder, _reshape])
def test_other_shards_are_other_data(folder: Path, change: Callable[[Path], None]) -> None:
    first = _identity(folder)
    change(folder)
    assert _identity(folder) != first


def test_what_is_not_a_shard_does_not_count(folder: Path) -> None:
    first = _identity(folder)
    (folder / "notes.txt").write_text("read me")
    (folder / ".a.npy.swp").write_bytes(b"x")
    np.save(folder / "._a.npy", X)
    (folder / ".ipynb_checkpoints").mkdir()
    np.save(folder / ".ipynb_checkpoints" / "a.npy", X)
    assert _identity(folder) == first


def test_synthetic_data_are_what_their_spec_says() -> None:
    identities = [SyntheticSource(SyntheticData(seed=seed)).identity for seed in (0, 0, 1)]
    assert identities[0] == identities[1] != identities[2]
