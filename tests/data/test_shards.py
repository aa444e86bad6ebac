"""Activations from files: what is read, in which order, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from prolu.data.places import DataError, Places
from prolu.data.shards import open_shards
from prolu.data.stored import StoredSource
from prolu.spec import ShardsData


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "shards").mkdir()
    return tmp_path


def _open(root: Path, eval_samples: int = 4, normalisation: str = "none", seed: int = 0) -> StoredSource:
    spec = ShardsData(path="shards", eval_samples=eval_samples, normalisation=normalisation, seed=seed)  # type: ignore[arg-type]
    places = Places(cache_dir=root / "cache", data_roots=(root,), hub_online=False)
    return open_shards(spec, places, notify=lambda _: None, should_stop=lambda: False)


def _write_numbered(root: Path) -> torch.Tensor:
    """Thirty rows (r, 2r, 3r) + 1 in three shards of both kinds, whose name order is not their order of writing."""
    x = torch.arange(30.0).unsqueeze(1) * torch.tensor([1.0, 2.0, 3.0]) + 1
    save_file({"activations": x[20:].bfloat16().contiguous()}, root / "shards" / "c.safetensors")
    np.save(root / "shards" / "a.npy", x[:10].numpy().astype(np.float16))
    save_file({"other": torch.zeros(1), "activations": x[10:20].contiguous()}, root / "shards" / "b.safetensors")
    (root / "shards" / "notes.txt").write_text("not a shard")
    return x


def test_a_pass_reads_every_training_row_once_and_no_held_out_row(root: Path) -> None:
    x = _write_numbered(root)
    source = _open(root)
    assert source.d_in == 3
    rows = torch.cat([source.batch(step, 13) for step in range(2)])
    assert torch.equal(rows[rows[:, 0].argsort()], x[:26])
    assert torch.equal(torch.cat(list(source.evaluation(3))), x[26:])


def test_batches_are_the_same_whenever_and_in_whatever_order_they_are_read(root: Path) -> None:
    _write_numbered(root)
    forwards = [_open(root).batch(step, 7) for step in range(12)]
    source = _open(root)
    backwards = [source.batch(step, 7) for step in reversed(range(12))]
    assert all(torch.equal(ahead, back) for ahead, back in zip(forwards, reversed(backwards), strict=True))
    assert not torch.equal(forwards[0], _open(root, seed=1).batch(0, 7))


def test_batches_and_held_out_rows_are_normalised(root: Path) -> None:
    _write_numbered(root)
    source = _open(root, normalisation="per_token")
    for x in (source.batch(0, 8), *source.evaluation(2)):
        assert x.dtype == torch.float32
        torch.testing.assert_close(x.norm(dim=1), torch.full((len(x),), 3**0.5))


def test_more_held_out_rows_than_there_are_is_refused(root: Path) -> None:
    _write_numbered(root)
    with pytest.raises(DataError, match=r"30 rows, but data\.eval_samples holds out 30; lower data\.eval_samples"):
        _open(root, eval_samples=30)


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.zeros((4, 5), np.float32), r"a\.npy of width 3 and z\.npy of width 5"),
        (np.zeros((0, 3), np.float32), r"z\.npy with shape \(0, 3\)"),
        (np.zeros(3, np.float32), r"z\.npy with shape \(3,\)"),
        (np.zeros((4, 3), np.int32), r"z\.npy of type int32"),
        (np.zeros((4, 3), ">i4"), r"z\.npy of type >i4; it must be float16, float32 or float64"),
        (np.zeros((4, 3), ">f4"), r"z\.npy of type >f4, which is big-endian; .* array\.astype\('<f4'\)\) writes it so"),
        (np.array([[{}, 1, 2]], dtype=object), r"z\.npy, which is not a plain \.npy array"),
        (np.full((4, 3), np.nan, np.float32), r"NaN or infinite value in row 0 of z\.npy"),
    ],
)
def test_an_array_that_is_not_activations_is_refused_by_name(root: Path, array: np.ndarray, sentence: str) -> None:
    _write_numbered(root)
    np.save(root / "shards" / "z.npy", array, allow_pickle=True)
    with pytest.raises(DataError, match=sentence):
        _open(root)


@pytest.mark.parametrize(
    ("tensors", "sentence"),
    [
        ({"acts": torch.zeros(2, 3)}, r"z\.safetensors with the keys \['acts'\]"),
        ({"activations": torch.zeros(2, 3, dtype=torch.int64)}, r"z\.safetensors of type I64"),
        ({"activations": torch.zeros(0, 3)}, r"z\.safetensors with shape \(0, 3\)"),
    ],
)
def test_a_safetensors_file_that_is_not_activations_is_refused_by_name(
    root: Path, tensors: dict[str, torch.Tensor], sentence: str
) -> None:
    save_file(tensors, root / "shards" / "z.safetensors")
    with pytest.raises(DataError, match=sentence):
        _open(root)


@pytest.mark.parametrize("name", ["z.npy", "z.safetensors"])
@pytest.mark.parametrize("content", [b"", b"not a shard at all", b"\x93NUMPY\x01\x00"])
def test_a_broken_file_is_refused_by_name(root: Path, name: str, content: bytes) -> None:
    (root / "shards" / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"data\.path holds {name}, which is not a"):
        _open(root)


def test_a_negative_number_of_rows_is_refused_by_name(root: Path) -> None:
    with (root / "shards" / "z.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (-300, 3)})
        file.write(bytes(36))
    with pytest.raises(DataError, match=r"data\.path holds z\.npy, which is not a plain \.npy array"):
        _open(root)


def test_a_folder_without_shards_is_refused(root: Path) -> None:
    with pytest.raises(DataError, match=r"a folder without any \.npy or \.parquet or \.safetensors file"):
        _open(root)
