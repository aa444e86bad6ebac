"""Shards from others: whatever their files say, one sentence ends it, before it takes memory, disk or time."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prolu.data import corpora, parquet_shards
from prolu.data.corpora import _read_jsonl, _read_parquet, _read_texts
from prolu.data.places import DataError
from prolu.data.shard_cache import ShardCache, Sink
from prolu.data.shard_files import map_shard


def npy(header: str) -> bytes:
    text = header.encode().ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def described(shape: str, dtype: str = "<f4") -> bytes:
    return npy(f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}, }}")


def zipped() -> bytes:
    """A megabyte that unpacks to a gigabyte, to a program that unpacks it."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("activations.npy", b"\0" * 10_000_000)
    return packed.getvalue()


def objects() -> bytes:
    made = io.BytesIO()
    np.save(made, np.array([[print, 1]], dtype=object), allow_pickle=True)
    return made.getvalue()


ARRAYS: dict[str, Callable[[], bytes]] = {
    "a zip": zipped,
    "objects, which are pickled": objects,
    "a pickle": lambda: pickle.dumps([1.0]),
    "a shape beyond the file": lambda: described("(1000000000, 4096)"),
    "a shape that overflows": lambda: described("(4611686018427387904, 8)"),
    "a negative shape": lambda: described("(-1, 8)"),
    "a shape of a thousand dimensions": lambda: described(f"({'1,' * 40})"),
    "a header nested without end": lambda: npy("(" * 5_000),
    "a type of its own": lambda: described("(1, 1)", "V1000000000"),
    "a header cut off": lambda: b"\x93NUMPY\x01\x00\xff\xff",
}


@pytest.mark.parametrize("content", ARRAYS.values(), ids=ARRAYS.keys())
def test_arrays_that_are_none_end_in_one_sentence(tmp_path: Path, content: Callable[[], bytes]) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(content())
    with pytest.raises(DataError, match=r"data\.path holds a\.npy") as refused:
        map_shard(path, "a.npy")
    assert len(str(refused.value)) < 1_000


def entry(shape: list[Any], offsets: list[Any], dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def safe(header: Any, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


TENSORS: dict[str, bytes] = {
    "a header longer than any file": struct.pack("<Q", 2**63),
    "a header of 3 MB": safe(b'{"activations":' + b" " * 3_000_000 + b"1}"),
    "twenty thousand other keys": safe({f"key-{index}": entry([0], [0, 0]) for index in range(20_000)}),
    "no rows, each beyond memory": safe({"activations": entry([0, 2**62], [0, 0])}),
    "one number without a shape": safe({"activations": entry([], [0, 4])}, b"1234"),
    "a shape that overflows": safe({"activations": entry([2**40, 2**40], [0, 4])}, b"1234"),
    "offsets beyond the end": safe({"activations": entry([4, 4], [0, 64])}, b"1234"),
}


@pytest.mark.parametrize("content", TENSORS.values(), ids=TENSORS.keys())
def test_tensors_that_are_none_end_in_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"data\.path holds a\.safetensors") as refused:
        map_shard(path, "a.safetensors")
    assert len(str(refused.value)) < 1_000


NUMBERS = st.one_of(st.integers(-2, 20), st.sampled_from([2**31, 2**62, 2**64]), st.none())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.lists(NUMBERS, max_size=3),
    offsets=st.lists(NUMBERS, max_size=3),
    dtype=st.sampled_from(["F32", "F16", "BF16", "U8", "F8_E4M3", None]),
    body=st.binary(max_size=64),
)
def test_whatever_a_header_says_the_array_lies_in_the_file_or_is_refused(
    tmp_path: Path, shape: list[Any], offsets: list[Any], dtype: Any, body: bytes
) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(safe({"activations": entry(shape, offsets, dtype)}, body))
    try:
        array = map_shard(path, "a.safetensors")
    except DataError:
        return
    assert array.nbytes <= len(body)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=80),
    prefix=st.sampled_from([b"", b"\x93NUMPY\x01\x00", b"\x93NUMPY\x02\x00", b"PK\x03\x04"]),
)
def test_noise_is_refused_as_an_array(tmp_path: Path, content: bytes, prefix: bytes) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(prefix + content)
    with pytest.raises(DataError, match=r"a\.npy"):
        map_shard(path, "a.npy")


def test_a_line_of_text_without_end_is_not_read_to_its_end(tmp_path: Path) -> None:
    with (tmp_path / "a.jsonl").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(DataError, match=r"line 1 of a\.jsonl has more than 67108864 bytes"):
        next(_read_jsonl([tmp_path / "a.jsonl"], "text"))


def test_a_text_file_without_end_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.txt").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(DataError, match=r"a\.txt, which has 1099511627776 bytes.*67108864.*split it"):
        next(_read_texts([tmp_path / "a.txt"]))


def texts(path: Path, *cells: str, **options: Any) -> list[Path]:
    """A column of strings in which the first cell follows the others 250 times, without the memory for it."""
    column = pa.DictionaryArray.from_arrays(np.array([*range(len(cells)), *[0] * 250], np.int32), pa.array(cells))
    pq.write_table(pa.table({"text": column}), path, compression="zstd", store_schema=False, **options)
    return [path]


def test_a_long_document_that_stands_often_in_parquet_is_decoded_once_at_a_time(tmp_path: Path) -> None:
    paths = texts(tmp_path / "a.parquet", "a" * 1_000_000)
    before = pa.total_allocated_bytes()
    documents = _read_parquet(paths, "text")
    assert len(next(documents)) == 1_000_000
    assert pa.total_allocated_bytes() - before < 10_000_000
    assert sum(1 for _ in documents) == 250


def test_parquet_text_out_of_proportion_to_its_file_is_refused_from_the_footer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpora, "_LONGEST_LINE_BYTES", 1_000_000)
    paths = texts(tmp_path / "a.parquet", *["a" * 800_000 + str(number) for number in range(4)])
    before = pa.total_allocated_bytes()
    with pytest.raises(DataError, match=r"a\.parquet, of which \d+ bytes unpack to 3200\d+ of text; write it again"):
        next(_read_parquet(paths, "text"))
    assert pa.total_allocated_bytes() == before


@pytest.mark.parametrize("rows", [0, 250])
def test_a_parquet_document_longer_than_any_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(corpora, "_LONGEST_LINE_BYTES", 1_000)
    table = pa.table({"text": [*["short"] * rows, "".join(map(str, range(500)))]})
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match=rf"row {rows + 1} of a\.parquet has more than 1000 bytes; split it"):
        list(_read_parquet([tmp_path / "a.parquet"], "text"))


def converted(tmp_path: Path, table: Any, **options: Any) -> Path:
    from prolu.data.parquet_shards import convert

    path = tmp_path / "a.parquet"
    pq.write_table(table, path, **options)
    size = path.stat().st_size
    cache = ShardCache(tmp_path, total_bytes=size, notify=lambda _: None, should_stop=lambda: False)

    def fill(sink: Sink) -> None:
        convert(path, path.name, size=size, sink=sink)

    return cache.copy({"of": "this"}, ".npy", size=size, fill=fill)


def test_parquet_that_unpacks_to_more_than_the_disk_holds_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1_000_000}))
    zeros = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(1_000_000, np.float32)), 1_000)
    with pytest.raises(DataError, match="unpacks to 4000000 bytes, and the cache folder has room for 1000000"):
        converted(tmp_path, pa.table({"activations": zeros}), compression="zstd")
    assert list(tmp_path.glob("**/*.npy*")) == []


def test_a_parquet_row_wider_than_any_is_refused_from_the_footer(tmp_path: Path) -> None:
    zeros = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(1_048_577, np.float32)), 1_048_577)
    with pytest.raises(DataError, match=r"a\.parquet, whose rows have 1048577 values; .*1048576 at most"):
        converted(tmp_path, pa.table({"activations": zeros}), compression="zstd")


def test_parquet_values_out_of_proportion_to_their_file_are_refused_from_the_footer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_shards, "_ANY_BYTES", 1_000_000)
    ragged = pa.ListArray.from_arrays(np.array([0, *[1_500_000] * 49], np.int32), np.zeros(1_500_000, np.float32))
    with pytest.raises(
        DataError, match=r"a\.parquet, of which \d+ bytes unpack to 6000192 in one row group; write it again"
    ):
        converted(tmp_path, pa.table({"activations": ragged}), compression="zstd")


def test_a_footer_that_is_damaged_is_read_in_part_or_refused_and_nothing_else_happens(tmp_path: Path) -> None:
    from prolu.data.parquet_shards import convert

    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"activations": [[1.0, 2.0]] * 3}), path)
    whole = path.read_bytes()
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    with (tmp_path / "out").open("wb") as out:
        for place in range(footer, len(whole) - 8, 7):
            path.write_bytes(whole[:place] + b"\xff\xff\xff\x7f" + whole[place + 4 :])
            with contextlib.suppress(DataError):  # what it says otherwise would come out of here
                convert(path, path.name, size=len(whole), sink=Sink(out, lambda _: None))
