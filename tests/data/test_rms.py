"""The scale of a data set: sqrt(mean ||x||^2 / d_in) over its rows, or over some of very many."""

import numpy as np
import pytest
import torch

from prolu.data import rms
from prolu.data.places import DataError
from prolu.data.rms import fit_normaliser, rms_of, rms_of_batches
from prolu.data.rows import Part, Rows
from prolu.data.stored import StoredSource
from prolu.data.synthetic import SyntheticSource
from prolu.spec import SyntheticData


def _rows(values: np.ndarray) -> Rows:
    return Rows([Part("a.npy", values[:3]), Part("b.npy", values[3:])])


def test_the_rms_of_rows_worked_by_hand() -> None:
    # ||x||^2 = 25, 0, 1, 2 and d_in = 2: the mean is 7, and sqrt(7 / 2) = 1.8708.
    values = np.array([[3.0, 4.0], [0.0, 0.0], [0.0, -1.0], [1.0, 1.0]], np.float16)
    assert rms_of(_rows(values)) == pytest.approx(3.5**0.5, rel=1e-15)


def test_after_normalisation_the_mean_squared_norm_of_the_training_rows_is_their_width() -> None:
    values = np.random.default_rng(0).normal(3, 20, size=(1000, 12)).astype(np.float32)
    rows = _rows(values)
    source = StoredSource(
        rows, rows.slice(0, 5), identity="given", seed=0, normaliser=fit_normaliser("dataset_rms", rows)
    )
    x = source.batch(0, 1000)
    assert x.double().square().sum(dim=1).mean() == pytest.approx(12, rel=1e-6)
    [held_out] = source.evaluation(5)
    back = source.normaliser.denormalise(held_out, source.normaliser.scales(held_out))
    torch.testing.assert_close(back, torch.from_numpy(values[:5]))


def test_very_many_rows_are_sampled_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rms, "MOST_ROWS", 4)
    values = np.arange(10, dtype=np.float64).reshape(10, 1)
    # Of ten rows, four: 0, 2, 5 and 7.
    assert rms_of(_rows(values)) == pytest.approx(((0 + 4 + 25 + 49) / 4) ** 0.5, rel=1e-15)


def test_a_sum_of_many_small_squares_loses_nothing_beside_a_large_one() -> None:
    batches = [torch.full((1, 1), 1e4), *(torch.full((1000, 1), 0.5) for _ in range(20))]
    assert rms_of_batches(iter(batches)) == ((1e8 + 20_000 * 0.25) / 20_001) ** 0.5


def test_the_other_kinds_read_no_rows() -> None:
    broken = _rows(np.full((5, 2), np.nan))
    assert fit_normaliser("per_token", broken).rms is None
    assert fit_normaliser("none", broken).rms is None
    with pytest.raises(DataError, match=r"row 0 of a\.npy"):
        fit_normaliser("dataset_rms", broken)


def test_no_rows_have_no_rms() -> None:
    with pytest.raises(ValueError, match="no activations to take the rms of"):
        rms_of_batches([])


def test_synthetic_samples_are_scaled_by_the_rms_of_the_first_of_them() -> None:
    spec = SyntheticData(normalisation="dataset_rms", d_in=16, n_features=32, active_features=4.0)
    source = SyntheticSource(spec)
    assert source.batch(0, 8_192).double().square().sum(dim=1).mean() == pytest.approx(16, rel=1e-5)
    raw = SyntheticSource(spec.model_copy(update={"normalisation": "none"}))
    assert source.normaliser.rms == rms_of_batches([raw.batch(0, 8_192)])
    torch.testing.assert_close(source.batch(100, 7) * source.normaliser.rms, raw.batch(100, 7))


def test_data_of_zeros_alone_are_refused_by_the_kind_that_would_divide_by_them() -> None:
    zeros = _rows(np.zeros((5, 2), np.float32))
    with pytest.raises(
        DataError,
        match=r"activations are all zero, so .* has no scale .*; choose another data\.normalisation or other data\.",
    ):
        fit_normaliser("dataset_rms", zeros)
    assert fit_normaliser("per_token", zeros).rms is None
    with pytest.raises(DataError, match="all zero"):
        rms_of_batches([torch.zeros(3, 2), torch.zeros(1, 2)])
