"""Unit-norm decoder rows: the gradient's parallel part goes, the orthogonal part stays."""

import torch
from torch import Tensor

from prolu.training.decoder_norm import remove_parallel_part, renormalise


def unit_rows(count: int = 9, d_in: int = 5) -> Tensor:
    rows = torch.randn(count, d_in, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return rows / rows.norm(dim=1, keepdim=True)


def test_the_parallel_part_of_a_case_worked_by_hand_is_removed() -> None:
    gradient = torch.tensor([[3.0, 4.0], [3.0, 4.0]])
    remove_parallel_part(gradient, torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    assert gradient.tolist() == [[0.0, 4.0], [3.0, 0.0]]


def test_what_remains_is_orthogonal_and_what_was_orthogonal_remains() -> None:
    rows = unit_rows()
    gradient = torch.randn(9, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    expected = gradient - (gradient * rows).sum(1, keepdim=True) * rows
    remove_parallel_part(gradient, rows)
    torch.testing.assert_close(gradient, expected)
    torch.testing.assert_close((gradient * rows).sum(1), torch.zeros(9, dtype=torch.float64))


def test_renormalised_rows_have_norm_one_and_keep_their_direction() -> None:
    rows = unit_rows()
    scaled = rows * torch.arange(1, 10, dtype=torch.float64).unsqueeze(1)
    renormalise(scaled)
    torch.testing.assert_close(scaled, rows)
