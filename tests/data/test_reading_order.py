"""The order of a streamed pass: every row once, old and new together, found from anywhere."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prolu.data.reading_order import ReadingOrder


def _order(rows: Any, buffer_rows: int, seed: int = 0, number: int = 0) -> ReadingOrder:
    return ReadingOrder(np.asarray(rows), buffer_rows=buffer_rows, seed=seed, number=number)


def _sources(order: ReadingOrder, first: int, stop: int) -> np.ndarray:
    """The chunk and the row in it of every row from `first` on, shape (rows, 2)."""
    found = np.full((stop - first, 2), -1)
    for selection in order.selections(first, stop):
        found[selection.places] = np.stack([np.full(len(selection.rows), selection.chunk), selection.rows], axis=1)
    return found


sizes = st.lists(st.integers(1, 9), min_size=1, max_size=40)


@given(rows=sizes, buffer_rows=st.integers(2, 200), seed=st.integers(0, 9), number=st.integers(0, 9))
@settings(max_examples=150, deadline=None)
def test_a_pass_has_every_context_and_every_row_once(rows: list[int], buffer_rows: int, seed: int, number: int) -> None:
    order = _order(rows, buffer_rows, seed, number)
    contexts = np.concatenate([order.contexts(chunk) for chunk in range(order.chunks)])
    assert sorted(contexts) == list(range(len(rows)))
    expected = {
        (chunk, row)
        for chunk in range(order.chunks)
        for row in range(sum(rows[context] for context in order.contexts(chunk)))
    }
    found = _sources(order, 0, sum(rows))
    assert {(int(chunk), int(row)) for chunk, row in found} == expected
    assert len(found) == len(expected)


@given(rows=sizes, buffer_rows=st.integers(2, 200), data=st.data())
@settings(max_examples=100, deadline=None)
def test_a_stretch_is_the_same_however_it_is_entered(rows: list[int], buffer_rows: int, data: Any) -> None:
    order = _order(rows, buffer_rows)
    whole = _sources(order, 0, sum(rows))
    first = data.draw(st.integers(0, sum(rows) - 1))
    stop = data.draw(st.integers(first + 1, sum(rows)))
    assert np.array_equal(_sources(order, first, stop), whole[first:stop])


@given(rows=sizes, buffer_rows=st.integers(2, 200))
@settings(max_examples=100, deadline=None)
def test_a_chunk_is_half_a_buffer_and_less_than_a_context_more(rows: list[int], buffer_rows: int) -> None:
    order = _order(rows, buffer_rows)
    for chunk in range(order.chunks):
        contexts = [rows[context] for context in order.contexts(chunk)]
        assert contexts
        assert sum(contexts) < max(1, buffer_rows // 2) + max(contexts)


def test_every_block_takes_half_from_a_chunk_and_half_from_the_one_before_and_mixes_them() -> None:
    order = _order([10] * 100, 200)  # ten chunks of 100 rows
    assert order.chunks == 10
    found = _sources(order, 0, 1_000)
    for block in range(10):
        chunks = found[100 * block : 100 * (block + 1), 0]
        assert {int(chunk): int((chunks == chunk).sum()) for chunk in chunks} == {block: 50, (block - 1) % 10: 50}
        for quarter in np.split(chunks, 4):
            assert 5 <= (quarter == block).sum() <= 20


def test_the_halves_of_a_chunk_have_no_row_in_common_and_are_drawn_from_all_of_it() -> None:
    found = _sources(_order([10] * 100, 200), 0, 1_000)
    first = set(found[300:400][found[300:400, 0] == 3, 1].tolist())
    second = set(found[400:500][found[400:500, 0] == 3, 1].tolist())
    assert first.isdisjoint(second)
    assert len(first | second) == 100
    for half in (first, second):
        assert 15 <= sum(row < 50 for row in half) <= 35


def test_passes_and_seeds_have_orders_of_their_own() -> None:
    orders = [
        np.concatenate([order.contexts(chunk) for chunk in range(order.chunks)])
        for order in (_order([1] * 200, 50, seed, number) for seed in (0, 1) for number in (0, 1))
    ]
    for index, one in enumerate(orders):
        for other in orders[index + 1 :]:
            assert (one == other).sum() < 8


@pytest.mark.parametrize("buffer_rows", [20, 1_000])
def test_a_pass_smaller_than_half_a_buffer_is_one_shuffled_chunk(buffer_rows: int) -> None:
    order = _order([5, 5], buffer_rows)
    assert order.chunks == 1
    rows = _sources(order, 0, 10)[:, 1]
    assert sorted(rows) == list(range(10))
    assert rows.tolist() != list(range(10))


def test_the_order_of_a_long_pass_is_found_in_a_moment() -> None:
    order = _order(np.full(200_000, 128), 262_144)
    found = _sources(order, 200_000 * 128 - 4_096, 200_000 * 128)
    assert {int(chunk) for chunk in np.unique(found[:, 0])} == {order.chunks - 2, order.chunks - 1}
