"""Shards are refused at submission by what their headers say; what cannot be read there is left to the workers."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from service.store.shard_headers import complaint

Write = Callable[..., None]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_it(name: str, rows: int = 10, width: int = 3, dtype: str = "float32") -> None:
        if name.endswith(".npy"):
            np.save(tmp_path / name, np.ones((rows, width), dtype))
        else:
            save_file({"activations": torch.ones(rows, width, dtype=getattr(torch, dtype))}, tmp_path / name)

    return write_it


@pytest.fixture
def told(tmp_path: Path) -> Callable[[int], str | None]:
    return lambda eval_samples=4: complaint(list(tmp_path.iterdir()), eval_samples=eval_samples)


def test_shards_of_one_width_are_fine_whatever_their_kind(write: Write, told: Callable[..., str | None]) -> None:
    for number, dtype in enumerate(["float16", "float32", "float64"]):
        write(f"{number}.npy", dtype=dtype)
    write("b.safetensors", dtype="bfloat16")
    assert told() is None


def test_two_widths_are_named(write: Write, told: Callable[..., str | None]) -> None:
    write("a.npy")
    write("b.safetensors", width=5)
    assert told() == "holds a.npy of width 3 and b.safetensors of width 5; all shards must have one d_in."


@pytest.mark.parametrize(("name", "dtype"), [("a.npy", "int64"), ("a.safetensors", "int8")])
def test_what_is_no_float_is_named(write: Write, told: Callable[..., str | None], name: str, dtype: str) -> None:
    write(name, dtype=dtype)
    assert f"holds {name} of type" in str(told())


def test_a_big_endian_array_is_named_with_what_writes_it_otherwise(
    write: Write, told: Callable[..., str | None]
) -> None:
    write("a.npy", dtype=">f8")
    assert told() == (
        "holds a.npy of type >f8, which is big-endian; it must be little-endian: "
        "numpy.save(path, array.astype('<f8')) writes it so."
    )


@pytest.mark.parametrize("shape", [(3,), (0, 3), (4, 3, 2)])
def test_a_shape_that_is_not_rows_is_named(
    tmp_path: Path, told: Callable[..., str | None], shape: tuple[int, ...]
) -> None:
    np.save(tmp_path / "a.npy", np.zeros(shape, np.float32))
    assert told() == f"holds a.npy with shape {shape}; it must be (rows, d_in) with at least one row."


def test_too_few_rows_to_hold_some_out_are_counted(write: Write, told: Callable[..., str | None]) -> None:
    write("a.npy", rows=10)
    write("b.safetensors", rows=7)
    assert told(16) is None
    assert told(17) == "holds 17 rows, but data.eval_samples holds out 17; lower data.eval_samples or add shards."


@pytest.mark.parametrize("name", ["a.npy", "a.safetensors"])
@pytest.mark.parametrize("kept", [9, 40, -1])
def test_a_file_that_is_cut_off_is_named(
    tmp_path: Path, write: Write, told: Callable[..., str | None], name: str, kept: int
) -> None:
    write(name, rows=100)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[:kept])
    sentence = str(told())
    assert sentence.startswith(f"holds {name}, which is cut off: by its header it has ")
    assert sentence.endswith(f" bytes, and there are {len(content[:kept])}; write it again.")
    assert kept != -1 or f"has {len(content)} bytes" in sentence


@pytest.mark.parametrize("name", ["b.npy", "b.safetensors", "b.parquet"])
def test_an_empty_file_is_named(tmp_path: Path, write: Write, told: Callable[..., str | None], name: str) -> None:
    write("a.npy")
    (tmp_path / name).touch()
    assert told() == f"holds {name}, which is empty; write it again or remove it."


def test_a_safetensors_file_without_activations_is_named_with_what_it_has(
    tmp_path: Path, told: Callable[..., str | None]
) -> None:
    save_file({"b": torch.ones(1), "acts": torch.ones(9, 3)}, tmp_path / "a.safetensors", metadata={"of": "gpt2"})
    assert told() == "holds a.safetensors with the keys ['acts', 'b']; it must have the key 'activations'."
    save_file({}, tmp_path / "a.safetensors")
    assert told() == "holds a.safetensors with the keys []; it must have the key 'activations'."


def test_a_negative_number_of_rows_is_a_wrong_shape(tmp_path: Path, told: Callable[..., str | None]) -> None:
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (-300, 3)})
    assert told() == "holds a.npy with shape (-300, 3); it must be (rows, d_in) with at least one row."


def test_rows_that_cannot_be_counted_here_are_not_missed(
    tmp_path: Path, write: Write, told: Callable[..., str | None]
) -> None:
    write("a.npy", rows=10)
    (tmp_path / "b.parquet").write_bytes(b"PAR1")
    assert told(1_000) is None


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.npy", b"not an array"),
        ("a.npy", b"\x93NUMPY\x01\x00\x10\x00" + b"(" * 16),
        ("a.npy", b"\x93NUMPY\x02\x00\x00\x00\x01\x00" + b"(" * 100_000),
        ("a.npy", b"\x93NUMPY\x01\x00\x40\x00" + b"{'descr': '<f4', 'shape': 3}".ljust(64)),
        ("a.safetensors", (2).to_bytes(8, "little") + b"[]"),
        ("a.safetensors", (50_000).to_bytes(8, "little") + b"[" * 50_000),
        ("a.safetensors", (29).to_bytes(8, "little") + b'{"activations": {"shape": 1}}'.ljust(29)),
        ("a.parquet", b"PAR1"),
    ],
)
def test_a_broken_header_is_left_to_the_workers(
    tmp_path: Path, told: Callable[..., str | None], name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    assert told() is None
