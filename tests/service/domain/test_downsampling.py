"""Thinned series: what must stay, whatever the series."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.downsampling import kept


def test_a_series_that_is_short_enough_stays_whole() -> None:
    assert kept([0, 5, 9], [1.0, None, 3.0], 5) == [0, 1, 2]


def test_a_spike_of_one_step_stays_among_a_million() -> None:
    values: list[float | None] = [1.0] * 10_000
    values[7_777] = 50.0
    values[3_333] = -50.0
    chosen = kept(list(range(10_000)), values, 20)
    assert {3_333, 7_777} <= {*chosen}
    assert len(chosen) <= 20


def test_steps_that_lie_unevenly_are_thinned_by_their_steps_not_by_their_number() -> None:
    steps = [*range(1_000), 100_000, 200_000, 300_000]
    chosen = kept(steps, [float(step % 7) for step in steps], 10)
    assert {1_000, 1_001, 1_002} <= {*chosen}, "the few late ones are as telling as the many early ones"


@given(
    st.lists(
        st.tuples(st.integers(0, 50), st.none() | st.floats(-10, 10)), min_size=1, max_size=80, unique_by=lambda s: s[0]
    ),
    st.integers(5, 40),
)
def test_ends_extremes_and_a_gap_stay_and_no_more_than_asked_for(
    samples: list[tuple[int, float | None]], points: int
) -> None:
    steps, values = (list(column) for column in zip(*sorted(samples, key=lambda one: one[0]), strict=True))
    chosen = kept(steps, values, points)
    assert chosen == sorted({*chosen})
    assert len(chosen) <= max(points, 0)
    assert {0, len(steps) - 1} <= {*chosen}
    finite = [value for value in values if value is not None]
    if finite:
        assert {min(finite), max(finite)} <= {values[index] for index in chosen}
    assert (None in values) == any(values[index] is None for index in chosen)


def test_too_few_points_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 5"):
        kept([0], [1.0], 4)
