"""Scales of activations: what each kind divides by, and that it is undone."""

import math

import pytest
import torch

from prolu.models.normalisation import Normaliser

PER_TOKEN = Normaliser("per_token")


def test_a_row_is_scaled_to_the_square_root_of_its_width() -> None:
    x = torch.tensor([[3.0, 4.0, 0.0, 0.0], [0.0, 0.0, 0.0, -0.5]])
    # ||(3, 4, 0, 0)|| = 5 and sqrt(4) = 2, so s = 2.5.
    torch.testing.assert_close(PER_TOKEN.scales(x), torch.tensor([2.5, 0.25]))
    torch.testing.assert_close(PER_TOKEN.normalise(x), torch.tensor([[1.2, 1.6, 0.0, 0.0], [0.0, 0.0, 0.0, -2.0]]))


def test_dataset_rms_divides_every_row_by_one_number() -> None:
    x = torch.tensor([[3.0, 5.0], [1.0, 1.0]])
    # mean ||x||^2 = (34 + 2) / 2 = 18 and d_in = 2, so rms = 3 and the mean becomes 18 / 9 = d_in.
    normaliser = Normaliser("dataset_rms", rms=3.0)
    torch.testing.assert_close(normaliser.scales(x), torch.tensor([3.0, 3.0]))
    normalised = normaliser.normalise(x)
    torch.testing.assert_close(normalised, x / 3)
    torch.testing.assert_close(normalised.square().sum(dim=1).mean(), torch.tensor(2.0))


@pytest.mark.parametrize("normaliser", [PER_TOKEN, Normaliser("dataset_rms", rms=0.0)])
def test_zero_rows_stay_zero_both_ways(normaliser: Normaliser) -> None:
    x = torch.zeros(2, 3)
    assert torch.equal(normaliser.normalise(x), x)
    assert torch.equal(normaliser.denormalise(torch.ones(2, 3), normaliser.scales(x)), x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("normaliser", [Normaliser("none"), PER_TOKEN, Normaliser("dataset_rms", rms=7.3)])
def test_the_scales_undo_the_normalisation(normaliser: Normaliser, dtype: torch.dtype) -> None:
    x = (torch.randn(100, 12, generator=torch.Generator().manual_seed(0)) * 50).to(dtype)
    back = normaliser.denormalise(normaliser.normalise(x), normaliser.scales(x))
    assert back.dtype == dtype
    torch.testing.assert_close(back, x)


def test_none_leaves_activations_as_they_are() -> None:
    x = torch.randn(3, 3)
    assert Normaliser("none").normalise(x) is x
    assert Normaliser("none").denormalise(x, torch.ones(3)) is x


@pytest.mark.parametrize("rms", [None, math.nan, math.inf, -1.0])
def test_dataset_rms_needs_the_rms_of_the_data(rms: float | None) -> None:
    with pytest.raises(ValueError, match=f"got the rms {rms}; give the data's"):
        Normaliser("dataset_rms", rms=rms)


def test_no_other_kind_takes_an_rms() -> None:
    with pytest.raises(ValueError, match=r"A per_token normaliser got the rms 1\.0; leave it out"):
        Normaliser("per_token", rms=1.0)
