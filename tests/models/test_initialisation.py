"""Where b_dec starts, and the geometric median against sets whose median is known."""

import pytest
import torch

from prolu.models.initialisation import geometric_median, initialise_b_dec
from prolu.models.sae import build_sae
from prolu.spec.sae import ReluSae


def summed_distance(points: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    return (points.double() - place).norm(dim=1).sum()


def test_the_median_of_a_line_is_its_middle_point_and_not_its_mean() -> None:
    points = torch.tensor([[0.0], [1.0], [2.0], [3.0], [100.0]])
    torch.testing.assert_close(geometric_median(points), torch.tensor([2.0], dtype=torch.float64), atol=1e-3, rtol=0)


def test_the_median_of_the_corners_of_a_square_is_its_centre() -> None:
    corners = torch.tensor([[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0]])
    torch.testing.assert_close(geometric_median(corners), torch.tensor([1.0, 1.0], dtype=torch.float64))


def test_the_median_of_a_convex_quadrilateral_is_where_its_diagonals_cross() -> None:
    corners = torch.tensor([[0.0, 0.0], [4.0, 1.0], [6.0, 6.0], [1.0, 4.0]])
    # the diagonals are y = x and y = 5 - x
    expected = torch.tensor([2.5, 2.5], dtype=torch.float64)
    torch.testing.assert_close(geometric_median(corners), expected, atol=1e-5, rtol=0)


def test_a_sample_that_outweighs_the_pull_of_the_others_is_the_median() -> None:
    points = torch.cat([torch.zeros(5, 2), torch.tensor([[1.0, 0.0], [0.0, 3.0], [7.0, 7.0]])])
    assert geometric_median(points).abs().max() < 1e-4


def test_a_start_on_a_sample_that_is_not_the_median_leaves_it() -> None:
    # the mean is the sample at the origin; the median lies among the three on the right
    points = torch.tensor([[0.0, 0.0], [1.0, 0.1], [1.0, -0.1], [1.0, 0.0], [-3.0, 0.0]])
    assert points.mean(dim=0).tolist() == [0, 0]
    median = geometric_median(points)
    assert summed_distance(points, median) < summed_distance(points, torch.zeros(2)) - 0.5
    assert median[0] > 0.9


def test_a_step_away_from_a_sample_does_not_go_too_far() -> None:
    # two samples at the mean, the others around it: Weiszfeld's step of the others alone would end farther from them all
    points = torch.tensor([[0.0, 0.0]] * 2 + [[0.25, 1.0]] * 8 + [[0.25, -1.0]] * 8 + [[-4.0, 0.0]])
    assert points.mean(dim=0).tolist() == [0, 0]
    after_one_step = geometric_median(points, most_steps=1)
    assert summed_distance(points, after_one_step) < summed_distance(points, torch.zeros(2))


def test_equal_samples_are_their_own_median() -> None:
    torch.testing.assert_close(geometric_median(torch.full((7, 3), 0.1)), torch.full((3,), 0.1).double())


def test_no_place_nearby_is_nearer_to_the_samples() -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(200, 6, generator=generator) ** 3
    median = geometric_median(points)
    best = summed_distance(points, median)
    for _ in range(50):
        nearby = median + 0.01 * torch.randn(6, generator=generator, dtype=torch.float64)
        assert summed_distance(points, nearby) > best


@pytest.mark.parametrize(
    ("start", "expected"), [("zero", [0.0, 0.0]), ("mean", [1.0, 21.2]), ("geometric_median", [1.0, 2.0])]
)
def test_b_dec_starts_where_the_spec_says(start: str, expected: list[float]) -> None:
    sae = build_sae(ReluSae.model_validate({"d_sae": 4, "b_dec_init": start}), 2, seed=0)
    samples = torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0], [1.0, 3.0], [1.0, 100.0]])
    initialise_b_dec(sae, samples)
    torch.testing.assert_close(sae.b_dec.detach(), torch.tensor(expected), atol=1e-3, rtol=0)
    assert sae.b_dec.requires_grad
