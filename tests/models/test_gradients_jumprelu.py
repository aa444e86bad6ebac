"""JumpReLU's threshold gradients against cases worked by hand, a reference number by number, and autograd."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from prolu.models.gradients import jumprelu, step_l0

DTYPES = [torch.float32, torch.float64, torch.bfloat16]
BANDWIDTH = 0.5


def gradients_of_acts(z: Tensor, theta: Tensor, g: Tensor, bandwidth: float = BANDWIDTH) -> tuple[Tensor, ...]:
    z, theta = z.clone().requires_grad_(), theta.clone().requires_grad_()
    return torch.autograd.grad(jumprelu(z, theta, bandwidth=bandwidth), (z, theta), g)


def gradient_of_l0(z: Tensor, theta: Tensor, bandwidth: float = BANDWIDTH) -> Tensor:
    theta = theta.clone().requires_grad_()
    (for_theta,) = torch.autograd.grad(step_l0(z, theta, bandwidth=bandwidth), theta)
    return for_theta


def random_case(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Coarse numbers: differences fall inside, outside and on the very edge of the window; some thresholds are negative."""
    generator = torch.Generator().manual_seed(3)
    z, theta, g = (torch.randint(-12, 13, shape, generator=generator) / 8 for shape in ((40, 12), (12,), (40, 12)))
    z[0], z[1] = 0.0, theta
    return z.to(dtype), theta.to(dtype), g.to(dtype)


def rectangle(u: float) -> float:
    return float(abs(u) < 1 / 2)


def by_formula(z: Tensor, theta: Tensor, g: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of acts for z and for theta, and that of L0 for theta, number by number."""
    for_z, for_theta, of_l0 = torch.zeros_like(z), torch.zeros_like(theta), torch.zeros_like(theta)
    for row in range(z.shape[0]):
        for latent in range(z.shape[1]):
            here, threshold, upstream = z[row, latent].item(), theta[latent].item(), g[row, latent].item()
            for_z[row, latent] = upstream if here > threshold and here > 0 else 0.0
            window = rectangle((here - threshold) / BANDWIDTH)
            for_theta[latent] += -(threshold / BANDWIDTH) * window * upstream
            of_l0[latent] += -(1 / BANDWIDTH) * window / z.shape[0]
    return for_z, for_theta, of_l0


# z = [[2, 0.5], [-1, 1.25]], theta = [1.5, 1], eps = 1: z - theta = [[0.5, -0.5], [-2.5, 0.25]], and only 0.25 is
# strictly inside the window, of width 1. Fired: [[1, 0], [0, 1]].
def test_gradients_of_a_case_worked_by_hand() -> None:
    z, theta = torch.tensor([[2.0, 0.5], [-1.0, 1.25]]), torch.tensor([1.5, 1.0])
    g = torch.tensor([[1.0, 10.0], [100.0, 1000.0]])
    assert jumprelu(z, theta, bandwidth=1.0).tolist() == [[2, 0], [0, 1.25]]
    for_z, for_theta = gradients_of_acts(z, theta, g, bandwidth=1.0)
    assert for_z.tolist() == [[1, 0], [0, 1000]]
    assert for_theta.tolist() == [0, -1000]  # -(1 / 1) * 1000
    assert step_l0(z, theta, bandwidth=1.0).item() == 1
    assert gradient_of_l0(z, theta, bandwidth=1.0).tolist() == [0, -0.5]  # -(1 / 1) / 2 rows


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_equal_the_formulas_number_by_number(dtype: torch.dtype) -> None:
    case = random_case()
    for_z, for_theta, of_l0 = by_formula(*case)
    z, theta, g = (each.to(dtype) for each in case)
    found = (*gradients_of_acts(z, theta, g), gradient_of_l0(z, theta))
    torch.testing.assert_close(found, (for_z.to(dtype), for_theta.to(dtype), of_l0.to(dtype)))


def test_the_threshold_gradients_are_those_of_autograd_with_the_rectangle_for_the_derivative_of_the_step() -> None:
    def straight_through_step(above: Tensor) -> Tensor:
        ramp = (above / BANDWIDTH).clamp(-0.5, 0.5)
        return (above > 0) + (ramp - ramp.detach())

    generator = torch.Generator().manual_seed(2)
    z, g = (torch.randn(64, 9, generator=generator, dtype=torch.float64) for _ in range(2))
    theta = torch.rand(9, generator=generator, dtype=torch.float64).requires_grad_()
    # At the threshold acts jump by theta: that, and no slope of z, is what moves with it.
    jump = theta.detach() * straight_through_step(z - theta)
    (expected,) = torch.autograd.grad(jump, theta, g)
    torch.testing.assert_close(gradients_of_acts(z, theta.detach(), g)[1], expected)
    (expected,) = torch.autograd.grad(straight_through_step(z - theta).sum(dim=1).mean(), theta)
    torch.testing.assert_close(gradient_of_l0(z, theta.detach()), expected)


def test_a_negative_threshold_acts_as_zero_and_keeps_the_formula_of_its_gradient() -> None:
    z, theta = torch.tensor([[-0.125], [-0.5], [0.25]]), torch.tensor([-0.25])
    assert jumprelu(z, theta, bandwidth=BANDWIDTH).flatten().tolist() == [0, 0, 0.25]
    for_z, for_theta = gradients_of_acts(z, theta, torch.ones(3, 1))
    assert for_z.flatten().tolist() == [0, 0, 1]
    assert for_theta.item() == 0.5  # -(-0.25 / 0.5) * 1: of -0.125 alone; -0.5 is on the edge, 0.25 outside
    assert step_l0(z, theta, bandwidth=BANDWIDTH).item() == pytest.approx(2 / 3)


@given(z=st.floats(width=32, allow_nan=False), theta=st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_acts_are_relu_above_the_threshold_and_never_negative(z: float, theta: float) -> None:
    acts = jumprelu(torch.tensor([[z]]), torch.tensor([theta]), bandwidth=BANDWIDTH).item()
    assert acts == (z if z > theta and z > 0 else 0)


def test_l0_counts_pre_activations_above_the_threshold_and_gives_them_no_gradient() -> None:
    z, theta, _ = random_case(torch.float32)
    z = z.requires_grad_()
    l0 = step_l0(z, theta.requires_grad_(), bandwidth=BANDWIDTH)
    assert l0.item() == pytest.approx((z > theta).sum(dim=1).float().mean().item())
    (for_z,) = torch.autograd.grad(l0, z, allow_unused=True)
    assert for_z is None


def test_with_a_float32_threshold_bfloat16_moves_no_gate_and_sums_in_float32() -> None:
    # In bfloat16 numbers near 1 lie 2^-7 apart: both thresholds would be rounded to z, and neither would let z pass.
    z, theta = torch.full((301, 2), 1 + 2**-7, dtype=torch.bfloat16), torch.tensor([2**-7 - 2**-10, 2**-7 + 2**-10]) + 1
    acts = jumprelu(z, theta, bandwidth=BANDWIDTH)
    assert acts.dtype == torch.bfloat16
    assert acts[0].tolist() == [1 + 2**-7, 0]
    for_z, for_theta = gradients_of_acts(z, theta, torch.ones_like(z))
    assert (for_z.dtype, for_theta.dtype) == (torch.bfloat16, torch.float32)
    torch.testing.assert_close(for_theta, -theta / BANDWIDTH * 301, rtol=1e-6, atol=0)
    l0 = step_l0(z, theta, bandwidth=BANDWIDTH)
    assert (l0.dtype, l0.item()) == (torch.float32, 1)
    torch.testing.assert_close(gradient_of_l0(z, theta), torch.full((2,), -1 / BANDWIDTH))


@pytest.mark.parametrize(("z", "theta"), [(math.nan, 0.5), (1.0, math.nan), (-1.0, math.nan)])
def test_a_nan_shows_in_acts_and_counts_as_fired(z: float, theta: float) -> None:
    assert jumprelu(torch.tensor([[z]]), torch.tensor([theta]), bandwidth=BANDWIDTH).isnan().all()
    assert step_l0(torch.tensor([[z]]), torch.tensor([theta]), bandwidth=BANDWIDTH).item() == 1


@pytest.mark.parametrize("z", [math.inf, -math.inf, 3e38, 1e-45, 0.0])
def test_the_ends_of_the_number_line_give_finite_threshold_gradients(z: float) -> None:
    pre_acts, theta = torch.tensor([[z]]), torch.tensor([0.5])
    assert gradients_of_acts(pre_acts, theta, torch.ones(1, 1))[1].item() == 0
    assert gradient_of_l0(pre_acts, theta).item() == 0


def test_an_empty_batch_has_an_l0_of_zero_without_gradient() -> None:
    z, theta = torch.zeros(0, 3), torch.ones(3)
    assert step_l0(z, theta, bandwidth=BANDWIDTH).item() == 0
    assert gradient_of_l0(z, theta).tolist() == [0, 0, 0]
    assert gradients_of_acts(z, theta, torch.zeros(0, 3))[1].tolist() == [0, 0, 0]


def test_l0_keeps_one_number_for_each_latent() -> None:
    z, theta, _ = random_case()
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        step_l0(z, theta.requires_grad_(), bandwidth=BANDWIDTH)
    assert [tensor.shape for tensor in kept] == [theta.shape]
