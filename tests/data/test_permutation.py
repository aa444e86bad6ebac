"""The order in which rows are read: a bijection that mixes well and can be entered anywhere."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from prolu.data.permutation import permute, shuffled_rows


@given(size=st.integers(1, 3_000), seed=st.integers(0, 2**63 - 1), number=st.integers(0, 10_000))
@settings(max_examples=150, deadline=None)
def test_every_row_is_read_exactly_once_in_a_pass(size: int, seed: int, number: int) -> None:
    rows = permute(np.arange(size), size, seed=seed, number=number)
    assert np.array_equal(np.sort(rows), np.arange(size))


def test_passes_and_seeds_have_orders_of_their_own() -> None:
    orders = [permute(np.arange(1_000), 1_000, seed=seed, number=number) for seed in (0, 1) for number in (0, 1)]
    for index, one in enumerate(orders):
        for other in orders[index + 1 :]:
            assert (one == other).sum() < 10  # two random orders agree in one place on average


def test_rows_from_anywhere_in_the_stream_do_not_depend_on_what_was_read_before() -> None:
    whole = shuffled_rows(0, 1_000, 300, seed=5)
    assert np.array_equal(whole[250:450], shuffled_rows(250, 200, 300, seed=5))
    for number in range(3):
        one_pass = whole[300 * number : 300 * (number + 1)]
        assert np.array_equal(np.sort(one_pass), np.arange(300))
        assert not np.array_equal(one_pass, whole[:300]) or number == 0


def test_a_batch_may_be_longer_than_the_data() -> None:
    rows = shuffled_rows(0, 10, 3, seed=0)
    assert np.bincount(rows, minlength=3).tolist() in ([4, 3, 3], [3, 4, 3], [3, 3, 4])


def test_a_pass_over_a_hundred_billion_rows_is_read_in_little_memory() -> None:
    rows = shuffled_rows(7 * 10**11 - 2, 4, 10**11, seed=1)
    assert len(set(rows.tolist())) == 4
    assert ((rows >= 0) & (rows < 10**11)).all()


def test_every_stretch_of_the_stream_draws_evenly_from_the_whole_data() -> None:
    # Chi-square of position block against row block: 20 x 20 cells of 250 expected; sqrt(2 * 361) = 27 is one sigma.
    size = 100_000
    for number in range(5):
        rows = permute(np.arange(size), size, seed=0, number=number)
        counts, _, _ = np.histogram2d(np.arange(size), rows, bins=20)
        chi_square = ((counts - 250) ** 2 / 250).sum()
        assert abs(chi_square - 361) < 5 * 27


def test_neighbours_in_the_data_are_not_neighbours_in_the_stream() -> None:
    rows = permute(np.arange(50_000), 50_000, seed=0, number=0)
    steps = np.abs(np.diff(rows))
    assert (steps == 1).sum() < 20  # two on average for a random order
    assert abs(steps.mean() / 50_000 - 1 / 3) < 0.01
