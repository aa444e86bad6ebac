"""Every value of the shards is looked at once before training, and not again while the files stay as they are."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from prolu.data import finite
from prolu.data.places import DataError, Interrupted, Places
from prolu.data.shards import open_shards
from prolu.data.source import ShouldStop
from prolu.data.stored import StoredSource
from prolu.spec import ShardsData
from prolu.spec.report import Progress

ROWS = 10_000


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of shards, which are looked at a hundred rows of two float32 at a time."""
    monkeypatch.setattr(finite, "_PIECE_BYTES", 800)
    (tmp_path / "shards").mkdir()
    return tmp_path / "shards"


@pytest.fixture
def heard() -> list[Progress]:
    return []


def _open(folder: Path, heard: list[Progress], should_stop: ShouldStop = lambda: False) -> StoredSource:
    spec = ShardsData(path="shards", eval_samples=4, normalisation="none")
    places = Places(cache_dir=folder.parent / "cache", data_roots=(folder.parent,), hub_online=False)
    return open_shards(spec, places, notify=heard.append, should_stop=should_stop)


def _ones(bad_row: int | None = None, bad: float = np.nan) -> np.ndarray:
    x = np.ones((ROWS, 2), np.float32)
    if bad_row is not None:
        x[bad_row, 1] = bad
    return x


@pytest.mark.parametrize("row", [0, 17, 5_099, 5_100, ROWS - 1])
@pytest.mark.parametrize("bad", [np.nan, -np.inf])
def test_one_bad_value_is_refused_on_opening_and_its_file_and_row_are_named(
    folder: Path, heard: list[Progress], row: int, bad: float
) -> None:
    np.save(folder / "a.npy", _ones())
    np.save(folder / "b.npy", _ones(row, bad))
    for _ in range(2):  # looked for, then remembered
        with pytest.raises(DataError, match=rf"NaN or infinite value in row {row} of b\.npy"):
            _open(folder, heard)


def test_a_value_that_is_too_large_for_float32_is_not_called_infinite(folder: Path, heard: list[Progress]) -> None:
    np.save(folder / "a.npy", _ones(17, 1.0).astype(np.float64) * np.where(np.arange(ROWS) == 17, 1e39, 1)[:, None])
    for _ in range(2):  # looked for, then remembered
        with pytest.raises(DataError, match=r"does not fit float32 in row 17 of a\.npy \(the largest is 1e\+39"):
            _open(folder, heard)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_bad_values_of_every_type_are_found_in_safetensors(
    folder: Path, heard: list[Progress], dtype: torch.dtype
) -> None:
    save_file({"activations": torch.from_numpy(_ones(4_321)).to(dtype)}, folder / "a.safetensors")
    with pytest.raises(DataError, match=r"row 4321 of a\.safetensors"):
        _open(folder, heard)


def test_progress_counts_the_bytes_and_files_that_have_not_changed_are_not_looked_at_again(
    folder: Path, heard: list[Progress], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.npy", "b.npy"):
        np.save(folder / name, _ones())
    _open(folder, heard)
    total = 2 * (folder / "a.npy").stat().st_size
    assert {(told.phase, told.total) for told in heard} == {("preparing", total)}
    assert [told.done for told in heard] == sorted(told.done for told in heard)
    assert heard[-1].done == total
    assert len(heard) > 100

    looked: list[int] = []
    look = finite.sha256_or_bad_row

    def counting(array: np.ndarray, heed: Callable[[int], None]) -> tuple[str, str]:
        looked.append(len(array))
        return look(array, heed)

    monkeypatch.setattr(finite, "sha256_or_bad_row", counting)
    _open(folder, heard)
    assert len(looked) == 0
    np.save(folder / "b.npy", _ones(12))
    with pytest.raises(DataError, match=r"row 12 of b\.npy"):
        _open(folder, heard)
    assert len(looked) == 1


def test_a_stop_is_heard_between_pieces_and_files_that_were_done_are_remembered(
    folder: Path, heard: list[Progress]
) -> None:
    for name in ("a.npy", "b.npy"):
        np.save(folder / name, _ones())
    size = (folder / "a.npy").stat().st_size
    with pytest.raises(Interrupted, match="asked to stop while preparing"):
        _open(folder, heard, lambda: bool(heard) and heard[-1].done > 1.5 * size)
    assert 1.5 * size < heard[-1].done < 1.6 * size
    heard.clear()
    _open(folder, heard)
    assert heard[0].done >= size
