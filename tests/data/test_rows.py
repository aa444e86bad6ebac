"""Rows of several arrays, read as one."""

import numpy as np
import pytest
import torch

from prolu.data.places import DataError
from prolu.data.rows import Part, Rows

LENGTHS = (5, 1, 7, 3)


def _rows(dtype: str = "float32") -> tuple[Rows, np.ndarray]:
    values = np.random.default_rng(0).standard_normal((sum(LENGTHS), 4)).astype(dtype)
    parts = np.split(values, np.cumsum(LENGTHS)[:-1])
    return Rows([Part(f"{number}.npy", part) for number, part in enumerate(parts)]), values


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_gathered_rows_are_those_of_one_long_array(dtype: str) -> None:
    rows, values = _rows(dtype)
    assert (len(rows), rows.d_in) == (16, 4)
    indices = np.random.default_rng(1).integers(0, 16, size=200)
    assert np.array_equal(rows.gather(indices).numpy(), values[indices].astype(np.float32))


def test_a_slice_is_rows_of_its_own() -> None:
    rows, values = _rows()
    for start, stop in ((0, 16), (4, 7), (5, 6), (13, 16)):
        part = rows.slice(start, stop)
        assert np.array_equal(part.gather(np.arange(stop - start)).numpy(), values[start:stop])


def test_sixteen_bit_words_are_read_as_bfloat16() -> None:
    x = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)).bfloat16()
    rows = Rows([Part("bits.npy", x.view(torch.int16).numpy().view(np.uint16))])
    assert torch.equal(rows.gather(np.arange(6)), x.float())


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_a_value_that_is_not_finite_is_refused_and_its_place_named(bad: float) -> None:
    rows, values = _rows("float64")
    values[7, 2] = bad  # the parts are views; row 7 is row 1 of the third
    with pytest.raises(DataError, match=r"row 1 of 2\.npy"):
        rows.gather(np.array([3, 7, 0]))


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (-1e300, r"does not fit float32 in row 1 of 2\.npy \(the largest is 1e\+300, float32 ends at 3\.4e\+38\)"),
        (np.nan, r"a NaN or infinite value in row 1 of 2\.npy"),
    ],
)
def test_a_value_that_is_too_large_for_float32_is_not_called_infinite(bad: float, sentence: str) -> None:
    rows, values = _rows("float64")
    values[7, 2] = bad
    with pytest.raises(DataError, match=sentence):
        rows.gather(np.array([7]))


def test_a_slice_names_rows_as_they_are_numbered_in_the_file() -> None:
    rows, values = _rows()
    values[9, 0] = np.nan  # row 3 of the third part
    held_out = rows.slice(7, 16).slice(1, 9)
    with pytest.raises(DataError, match=r"row 3 of 2\.npy"):
        held_out.gather(np.arange(8))


def test_large_finite_values_are_read() -> None:
    rows = Rows([Part("a.npy", np.full((4, 8), 3e38, dtype=np.float32))])
    assert (rows.gather(np.arange(4)) == 3e38).all()
