"""Series of a grid: the numbers that a person would write."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prolu.spec import Geometric, Range, SpecError, SweepSpec, Values, validate
from service.domain.expansion.series import values_of


@pytest.mark.parametrize(
    ("series", "values"),
    [
        (Geometric(start=1e-4, factor=6, count=3), [0.0001, 0.0006, 0.0036]),
        (Geometric(start=4e-4, factor=1.5, count=3), [0.0004, 0.0006, 0.0009]),
        (Geometric(start=1e-4, stop=1e-2, count=5), [0.0001, 0.000316228, 0.001, 0.00316228, 0.01]),
        (Geometric(start=1e-2, stop=1e-4, count=3), [0.01, 0.001, 0.0001]),
        (Geometric(start=256, stop=4096, count=5), [256, 512, 1024, 2048, 4096]),
        (Geometric(start=1, factor=2, count=22), [2**power for power in range(22)]),
        (Geometric(start=0.123456789, factor=10, count=2), [0.123456789, 1.23457]),
        (Range(start=0.1, stop=0.5, step=0.1), [0.1, 0.2, 0.3, 0.4, 0.5]),
        (Range(start=8, stop=20, step=5), [8, 13, 18]),
        (Range(start=3, stop=1, step=-1), [3, 2, 1]),
        (Values(values=[4e-4, "x"]), [4e-4, "x"]),
        ([1, 2.0], [1, 2.0]),
    ],
)
def test_series_are_counted_out_as_a_person_would_write_them(series: Any, values: list[Any]) -> None:
    assert values_of(series) == values
    assert [type(value) for value in values_of(series)] == [type(value) for value in values]


@given(
    start=st.decimals("1e-6", "1e6", allow_nan=False).map(lambda value: float(f"{value:.3e}")),
    factor=st.sampled_from([2, 3, 10, 0.5, 1.5, 0.1]),
    count=st.integers(2, 20),
)
def test_every_value_but_the_first_has_at_most_six_digits_and_lies_where_it_should(
    start: float, factor: float, count: int
) -> None:
    for index, value in enumerate(values_of(Geometric(start=start, factor=factor, count=count))):
        assert len(Decimal(repr(value)).normalize().as_tuple().digits) <= 6
        assert value == pytest.approx(start * factor**index, rel=5e-6)


def test_a_longer_series_begins_as_the_shorter_one() -> None:
    short, long = (values_of(Geometric(start=3e-4, factor=1.7, count=count)) for count in (4, 9))
    assert long[:4] == short


@pytest.mark.parametrize(
    ("values", "pointer", "sentence"),
    [
        (3, "/grid/x", "grid.x must be a list; got 3."),
        ({"kind": "geometry"}, "/grid/x/kind", "did you mean 'geometric'?"),
        ({"start": 1}, "/grid/x", "grid.x.kind is missing; choose geometric, range or values."),
        ({"kind": "geometric", "start": 1, "count": 2}, "/grid/x", "must have factor or stop; got neither"),
        ({"kind": "geometric", "start": 0, "factor": 2, "count": 2}, "/grid/x/start", "must be greater than 0; got 0"),
        ({"kind": "geometric", "start": 1, "factor": 1, "count": 2}, "/grid/x/factor", "all values are the same"),
        ({"kind": "geometric", "start": 1, "factor": 10, "count": 99}, "/grid/x/count", "leads to about 1e98"),
        ({"kind": "geometric", "start": True, "factor": 10, "count": 2}, "/grid/x/start", "must be a number; got true"),
        ({"kind": "range", "start": 0, "stop": 1, "step": -1}, "/grid/x/step", "leads away from stop (1)"),
        ({"kind": "range", "start": 0, "stop": 1, "step": 1e-4}, "/grid/x/step", "more than 1000 values"),
        ({"kind": "range", "start": 0, "stop": 1, "by": 1}, "/grid/x/by", "when grid.x.kind is 'range'"),
    ],
)
def test_a_wrong_dimension_is_explained_where_it_stands(values: Any, pointer: str, sentence: str) -> None:
    with pytest.raises(SpecError) as error:
        validate({"base": {}, "grid": {"x": values}}, SweepSpec)
    (mistake,) = error.value.mistakes
    assert mistake.pointer == pointer
    assert sentence in mistake.sentence
