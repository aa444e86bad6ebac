"""Each kernel against numbers worked by hand, its formula, its integral, and at the ends of the number line."""

import math

import pytest
import torch

from prolu.models.kernels import is_zero_below_zero, kernel_of
from prolu.spec.estimators import ExpKernel, GaussianKernel, Kernel, RectangleKernel, SigmoidKernel, TriangleKernel
from tests.models.naive_gradients import KERNELS, naive_kernel

DTYPES = [torch.float32, torch.float64, torch.bfloat16]
EVERY_KERNEL = pytest.mark.parametrize("kernel", [pytest.param(kernel, id=name) for name, kernel in KERNELS.items()])


# At z = -0.5, -0.25, 0, 0.25, 0.5, 2. Windows are 0.5 wide: 0.25 is the edge of the rectangle, 0.5 that of the triangle.
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("heaviside", [0, 0, 0, 1, 1, 1]),
        ("unit", [0, 0, 0, 1, 1, 0]),
        ("rectangle", [0, 0, 2, 0, 0, 0]),
        ("clamp01", [0, 0, 0, 0.25, 0.5, 1]),
        ("clamp11", [-0.5, -0.25, 0, 0.25, 0.5, 1]),
        ("identity", [1, 1, 1, 1, 1, 1]),
        ("exp", [0.606531, 0.778801, 1, 1.284025, 1.648721, 7.389056]),
        ("triangle", [0, 1, 2, 1, 0, 0]),  # (1 - 0.5) / 0.5 = 1
        ("gaussian", [0.483941, 0.704131, 0.797885, 0.704131, 0.483941, 0.000268]),  # twice the normal density at 2 z
        ("sigmoid", [0.393224, 0.470007, 0.5, 0.470007, 0.393224, 0.035325]),  # at 0: (1/2) (1/2) / 0.5 = 0.5
    ],
)
def test_a_kernel_at_numbers_worked_by_hand(name: str, expected: list[float]) -> None:
    z = torch.tensor([-0.5, -0.25, 0.0, 0.25, 0.5, 2.0])
    torch.testing.assert_close(kernel_of(KERNELS[name])(z), torch.tensor(expected, dtype=z.dtype), rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@EVERY_KERNEL
def test_a_kernel_equals_its_formula_and_keeps_shape_and_dtype(kernel: Kernel, dtype: torch.dtype) -> None:
    z = torch.arange(-48, 48, dtype=dtype).div(8).reshape(8, 12)
    expected = torch.tensor([[naive_kernel(kernel, here.item()) for here in row] for row in z], dtype=dtype)
    untouched = z.clone()
    close = {"rtol": 0.04, "atol": 1e-4} if dtype == torch.bfloat16 else {"rtol": 1e-4, "atol": 1e-7}
    torch.testing.assert_close(kernel_of(kernel)(z), expected, **close)
    assert torch.equal(z, untouched)


@pytest.mark.parametrize("kernel", [RectangleKernel(), TriangleKernel(), GaussianKernel(), SigmoidKernel()])
def test_a_windowed_kernel_has_the_integral_of_the_spike_it_stands_for(kernel: Kernel) -> None:
    z = torch.linspace(-4, 4, 800_000, dtype=torch.float64)
    assert torch.trapezoid(kernel_of(kernel)(z), z).item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("z", [math.inf, -math.inf, 3e38, -3e38])
@EVERY_KERNEL
def test_a_kernel_is_finite_everywhere(kernel: Kernel, z: float) -> None:
    assert kernel_of(kernel)(torch.tensor([z])).isfinite().all()


@EVERY_KERNEL
def test_a_kernel_never_hides_a_nan_as_zero(kernel: Kernel) -> None:
    assert kernel_of(kernel)(torch.tensor([math.nan])).item() != 0


@EVERY_KERNEL
def test_a_kernel_that_is_zero_below_zero_says_so(kernel: Kernel) -> None:
    z = torch.tensor([-math.inf, -3.0, -0.5, -1e-3, -1e-45, -0.0, 0.0])
    assert is_zero_below_zero(kernel) == (not kernel_of(kernel)(z).any())


def test_the_exponential_is_held_at_e_to_the_tenth() -> None:
    held = kernel_of(ExpKernel())(torch.tensor([9.0, 10.0, 11.0, 1000.0]))
    assert held.tolist() == pytest.approx([math.e**9, math.e**10, math.e**10, math.e**10], rel=1e-6)


def test_the_tails_of_the_sigmoid_lose_no_digits() -> None:
    z = torch.tensor([12.0, -12.0])
    expected = torch.tensor(naive_kernel(SigmoidKernel(epsilon=0.5), 12.0)).expand(2)
    torch.testing.assert_close(kernel_of(SigmoidKernel(epsilon=0.5))(z), expected, rtol=1e-5, atol=0)
