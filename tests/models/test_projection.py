"""The encoder's product has the value and the gradients that autograd gives the plain formula."""

import torch
from torch import Tensor

from prolu.models.projection import project


def inputs() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    shapes = [(7, 5), (5,), (5, 9), (7, 9)]
    x, b_dec, W_enc, g = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    return x, b_dec, W_enc, g


def test_projection_is_the_centred_product() -> None:
    x, b_dec, W_enc, _ = inputs()
    torch.testing.assert_close(project(x, b_dec, W_enc), (x - b_dec) @ W_enc)


def test_gradients_equal_those_of_autograd() -> None:
    x, b_dec, W_enc, g = inputs()
    for wanted in [(b_dec, W_enc), (x, b_dec, W_enc), (W_enc,)]:
        for tensor in (x, b_dec, W_enc):
            tensor.requires_grad_(any(tensor is one for one in wanted))
        found = torch.autograd.grad(project(x, b_dec, W_enc), wanted, g)
        expected = torch.autograd.grad((x - b_dec) @ W_enc, wanted, g)
        torch.testing.assert_close(found, expected)
