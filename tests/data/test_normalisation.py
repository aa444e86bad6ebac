"""Per-token normalisation and its inverse."""

import torch

from prolu.data.normalisation import denormalise, norm_scales, normalise


def test_a_row_is_scaled_to_the_square_root_of_its_width() -> None:
    x = torch.tensor([[3.0, 4.0, 0.0, 0.0], [0.0, 0.0, 0.0, -0.5]])
    # ||(3, 4, 0, 0)|| = 5 and sqrt(4) = 2, so s = 2.5.
    torch.testing.assert_close(norm_scales(x), torch.tensor([2.5, 0.25]))
    torch.testing.assert_close(normalise(x, "per_token"), torch.tensor([[1.2, 1.6, 0.0, 0.0], [0.0, 0.0, 0.0, -2.0]]))


def test_zero_rows_stay_zero_both_ways() -> None:
    x = torch.zeros(2, 3)
    assert torch.equal(normalise(x, "per_token"), x)
    assert torch.equal(denormalise(torch.ones(2, 3), norm_scales(x)), x)


def test_the_scales_undo_the_normalisation() -> None:
    x = torch.randn(100, 12, generator=torch.Generator().manual_seed(0)) * 50
    torch.testing.assert_close(denormalise(normalise(x, "per_token"), norm_scales(x)), x)


def test_none_leaves_activations_as_they_are() -> None:
    x = torch.randn(3, 3)
    assert normalise(x, "none") is x
