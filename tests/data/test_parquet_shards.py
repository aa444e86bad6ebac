"""Parquet shards: copied once into an array, a few rows at a time, and refused by file and row."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from prolu.data import parquet_shards
from prolu.data.places import DataError, Interrupted, Places
from prolu.data.shards import open_shards
from prolu.data.stored import StoredSource
from prolu.spec import ShardsData
from prolu.spec.report import Progress

LISTS: dict[str, Callable[[int], Any]] = {
    "list<float>": lambda _: pa.list_(pa.float32()),
    "list<double>": lambda _: pa.list_(pa.float64()),
    "list<halffloat>": lambda _: pa.list_(pa.float16()),
    "large_list<float>": lambda _: pa.large_list(pa.float32()),
    "fixed_size_list<float>": lambda width: pa.list_(pa.float32(), width),
}
ROWS = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float16)


def column(rows: Any, kind: str = "list<float>") -> Any:
    return pa.array(list(rows), LISTS[kind](3))


def write(path: Path, values: Any, *, name: str = "activations", rows_per_group: int = 20) -> None:
    path.parent.mkdir(exist_ok=True)
    others = pa.array([[1, 2]] * len(values))
    pq.write_table(pa.table({"token": others, name: values}), path, row_group_size=rows_per_group)


@pytest.fixture
def heard() -> list[Progress]:
    return []


@pytest.fixture
def open_folder(tmp_path: Path, heard: list[Progress]) -> Callable[..., StoredSource]:
    def open_it(should_stop: Callable[[], bool] = lambda: False, path: str = "shards") -> StoredSource:
        spec = ShardsData(path=path, eval_samples=4, normalisation="none")
        places = Places(cache_dir=tmp_path / "cache", data_roots=(tmp_path,), hub_online=False)
        return open_shards(spec, places, notify=heard.append, should_stop=should_stop)

    return open_it


def read_all(source: StoredSource, rows: int) -> torch.Tensor:
    """Every row, the held-out ones last, in the order of their first value."""
    train = source.batch(0, rows - 4)
    return torch.cat([train, *source.evaluation(4)])


def in_order(x: torch.Tensor) -> torch.Tensor:
    return x[x[:, 0].argsort(stable=True)]


@pytest.mark.parametrize("kind", LISTS)
def test_lists_of_every_kind_are_read_as_they_were_written(
    tmp_path: Path, open_folder: Callable[..., StoredSource], kind: str
) -> None:
    write(tmp_path / "shards" / "a.parquet", column(ROWS, kind))
    source = open_folder()
    expected = torch.from_numpy(ROWS.astype(np.float32))
    assert source.d_in == 3
    assert torch.equal(in_order(read_all(source, 50)), in_order(expected))
    assert torch.equal(next(source.evaluation(4)), expected[46:])


def test_a_single_file_and_a_folder_of_mixed_kinds_are_read_in_name_order(
    tmp_path: Path, open_folder: Callable[..., StoredSource]
) -> None:
    np.save(tmp_path / "a.npy", ROWS[:20])
    write(tmp_path / "shards" / "b.parquet", column(ROWS[20:]))
    (tmp_path / "a.npy").rename(tmp_path / "shards" / "a.npy")
    assert torch.equal(next(open_folder().evaluation(4)), torch.from_numpy(ROWS[46:].astype(np.float32)))
    alone = open_folder(path="shards/b.parquet")
    assert torch.equal(in_order(read_all(alone, 30)), in_order(torch.from_numpy(ROWS[20:].astype(np.float32))))


def test_a_file_is_copied_once_and_again_when_it_changes(
    tmp_path: Path, open_folder: Callable[..., StoredSource], heard: list[Progress]
) -> None:
    write(tmp_path / "shards" / "a.parquet", column(ROWS))
    size = (tmp_path / "shards" / "a.parquet").stat().st_size
    open_folder()
    assert next((told.phase, told.done, told.total) for told in heard) == ("preparing", 0, size)
    assert (heard[-1].done, heard[-1].total) == (size, size)
    [copy] = (tmp_path / "cache" / "shards").glob("*.npy")
    written = copy.stat().st_mtime_ns
    open_folder()
    assert copy.stat().st_mtime_ns == written
    write(tmp_path / "shards" / "a.parquet", column(ROWS * 2))
    assert torch.equal(next(open_folder().evaluation(4)), torch.from_numpy(ROWS[46:].astype(np.float32) * 2))


@pytest.mark.parametrize("damage", [lambda data: data[:-8], lambda data: data[:-1] + bytes([data[-1] ^ 1])])
def test_a_damaged_copy_is_made_again(
    tmp_path: Path, open_folder: Callable[..., StoredSource], damage: Callable[[bytes], bytes]
) -> None:
    write(tmp_path / "shards" / "a.parquet", column(ROWS))
    open_folder()
    [copy] = (tmp_path / "cache" / "shards").glob("*.npy")
    copy.write_bytes(damage(copy.read_bytes()))
    assert torch.equal(next(open_folder().evaluation(4)), torch.from_numpy(ROWS[46:].astype(np.float32)))


def test_a_row_group_is_decoded_piece_by_piece(
    tmp_path: Path, open_folder: Callable[..., StoredSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_shards, "_PIECE_BYTES", 2**18)
    rows = np.random.default_rng(0).standard_normal((16_000, 256)).astype(np.float32)  # 16 MiB in one row group
    flat = pa.FixedSizeListArray.from_arrays(rows.reshape(-1), 256)
    pq.write_table(pa.table({"activations": flat}), tmp_path / "a.parquet", row_group_size=16_000, use_dictionary=False)
    held: list[int] = []
    before = pa.total_allocated_bytes()

    def watch() -> bool:
        held.append(pa.total_allocated_bytes() - before)
        return False

    source = open_folder(watch, path="a.parquet")
    assert torch.equal(next(source.evaluation(4)), torch.from_numpy(rows[-4:]))
    assert len(held) > 50
    assert max(held) < 6 * 2**20


def test_a_stop_is_heard_between_pieces_and_finished_files_are_kept(
    tmp_path: Path, open_folder: Callable[..., StoredSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_shards, "_PIECE_BYTES", 60)  # ten rows
    for name in ("a", "b"):
        write(tmp_path / "shards" / f"{name}.parquet", column(ROWS))
    folder = tmp_path / "cache" / "shards"
    with pytest.raises(Interrupted, match="while copying shards"):
        open_folder(lambda: len(list(folder.glob("*.json"))) == 1 and len(list(folder.glob("*.unfinished"))) == 1)
    assert sorted(path.suffix for path in folder.iterdir()) == [".json", ".lock", ".lock", ".npy"]
    [kept] = folder.glob("*.npy")
    written = kept.stat().st_mtime_ns
    assert len(read_all(open_folder(), 100)) == 100
    assert kept.stat().st_mtime_ns == written


def test_processes_that_need_the_same_copy_make_it_once(
    tmp_path: Path, open_folder: Callable[..., StoredSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "shards" / "a.parquet", column(ROWS))
    convert, made, others = parquet_shards.convert, [], threading.Barrier(3, timeout=30)

    def counting(*args: Any, **kwargs: Any) -> None:
        made.append(threading.get_ident())
        convert(*args, **kwargs)

    monkeypatch.setattr(parquet_shards, "convert", counting)

    def open_together() -> None:
        others.wait()
        open_folder()

    threads = [threading.Thread(target=open_together) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    [record] = (tmp_path / "cache" / "shards").glob("*.json")
    assert json.loads(record.read_text())["origin"]["path"].endswith("a.parquet")


BAD_ROWS: dict[str, tuple[Any, str]] = {
    "NaN": ([[1.0, float("nan"), 2.0]], r"NaN or infinite value in row 46 of a\.parquet"),
    "too large": ([[1.0, 1e300, 2.0]], r"does not fit float32 in row 46 of a\.parquet"),
    "null": ([None], r"a\.parquet, whose row 46 is null"),
    "null within": ([[1.0, None, 2.0]], r"a\.parquet, whose row 46 has a null in it"),
    "short": ([[1.0, 2.0]], r"a\.parquet, whose row 46 has 2 values and others 3"),
}


@pytest.mark.parametrize("rows_at_once", [1, 7, 50])
@pytest.mark.parametrize("bad", BAD_ROWS)
def test_a_bad_row_is_named(
    tmp_path: Path,
    open_folder: Callable[..., StoredSource],
    monkeypatch: pytest.MonkeyPatch,
    bad: str,
    rows_at_once: int,
) -> None:
    monkeypatch.setattr(parquet_shards, "_PIECE_BYTES", 24 * rows_at_once)
    rows, sentence = BAD_ROWS[bad]
    values = pa.array(
        [*ROWS[:46].astype(float).tolist(), *rows, *ROWS[47:].astype(float).tolist()], pa.list_(pa.float64())
    )
    write(tmp_path / "shards" / "a.parquet", values)
    with pytest.raises(DataError, match=sentence):
        open_folder()
    assert not list((tmp_path / "cache" / "shards").glob("*.npy*"))


def test_a_null_in_a_fixed_size_list_is_named(tmp_path: Path, open_folder: Callable[..., StoredSource]) -> None:
    values = pa.array([[1.0, 2.0, 3.0], None, [1.0, 2.0, 3.0]], pa.list_(pa.float32(), 3))
    write(tmp_path / "shards" / "a.parquet", values)
    with pytest.raises(DataError, match="row 1 is null"):
        open_folder()


@pytest.mark.parametrize(
    ("values", "name", "sentence"),
    [
        (pa.array([[1.0]]), "acts", r"a\.parquet with the columns \['acts', 'token'\]; it must have 'activations'"),
        (pa.array([[1]]), "activations", r"of type list<.*int64>; it must be lists of float16"),
        (pa.array([1.0]), "activations", r"of type double; it must be lists"),
        (pa.array([], pa.list_(pa.float32())), "activations", r"a\.parquet with shape \(0, 0\)"),
        (pa.array([[], []], pa.list_(pa.float32())), "activations", r"a\.parquet with shape \(2, 0\)"),
    ],
)
def test_a_file_that_is_not_activations_is_refused_by_name(
    tmp_path: Path, open_folder: Callable[..., StoredSource], values: Any, name: str, sentence: str
) -> None:
    write(tmp_path / "shards" / "a.parquet", values, name=name)
    with pytest.raises(DataError, match=sentence):
        open_folder()


@pytest.mark.parametrize("content", [b"", b"not parquet at all", b"PAR1 cut short PAR1"])
def test_a_broken_file_is_refused_by_name(
    tmp_path: Path, open_folder: Callable[..., StoredSource], content: bytes
) -> None:
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "a.parquet").write_bytes(content)
    with pytest.raises(DataError, match=r"data\.path holds a\.parquet, which is not readable Parquet"):
        open_folder()
