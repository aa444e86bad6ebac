"""ReLU with its true and its straight-through gradient, the hybrid of ReLU and ProLU, and which function a spec names."""

import pytest
import torch
from torch import Tensor

from prolu.models.gradients import activation_of, prolu_by
from prolu.models.nonlinearity import prolu_hybrid
from prolu.spec.estimators import IdentityKernel, ReluLike, Ste, SteBiasOnly, Surrogate
from prolu.spec.sae import ProluHybridSae, ProluSae, ReluSae
from tests.models.naive_gradients import ESTIMATORS, naive_gradient, step, times

RELU = activation_of(ReluSae(d_sae=4))
RELU_STE = activation_of(ReluSae(d_sae=4, gradient="ste"))
DTYPES = [torch.float32, torch.float64, torch.bfloat16]


def gradients_of(activation: object, m: Tensor, b: Tensor, g: Tensor) -> tuple[Tensor, ...]:
    m, b = m.clone().requires_grad_(), b.clone().requires_grad_()
    assert callable(activation)
    return torch.autograd.grad(activation(m, b), (m, b), g)


def random_case(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Coarse numbers, whose sums are exact in every dtype; b is zero at times, with either sign."""
    generator = torch.Generator().manual_seed(5)
    m, b, g = (torch.randint(-12, 13, shape, generator=generator) / 8 for shape in ((40, 12), (12,), (40, 12)))
    m[0], m[1], b[0], b[1] = 0.0, -b, 0.0, -0.0
    return m.to(dtype), b.to(dtype), g.to(dtype)


def naive_hybrid_gradients(estimator: object, m: Tensor, b: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    for_m, for_b = torch.zeros_like(m, dtype=torch.float64), torch.zeros_like(b, dtype=torch.float64)
    for row in range(m.shape[0]):
        for latent in range(m.shape[1]):
            here, bias, upstream = m[row, latent].item(), b[latent].item(), g[row, latent].item()
            true = times(step(here + bias), upstream)
            both = naive_gradient(estimator, here, bias, upstream) if bias < 0 else (true, true)
            for_m[row, latent] = both[0]
            for_b[latent] += both[1]
    return for_m, for_b


# m = [[2, 2], [-1, 0.5]], b = [-1, 0.25], g = [[1, 10], [100, 1000]]: m + b = [[1, 2.25], [-2, 0.75]], T = [[1, 1], [0, 1]].
def test_gradients_of_relu_in_a_case_worked_by_hand() -> None:
    m, b = torch.tensor([[2.0, 2.0], [-1.0, 0.5]]), torch.tensor([-1.0, 0.25])
    g = torch.tensor([[1.0, 10.0], [100.0, 1000.0]])
    assert [found.tolist() for found in gradients_of(RELU, m, b, g)] == [[[1, 10], [0, 1000]], [1, 1010]]
    # g (1 + (m + b)): 1 * 2, 10 * 3.25, 1000 * 1.75
    assert [found.tolist() for found in gradients_of(RELU_STE, m, b, g)] == [[[2, 32.5], [0, 1750]], [2, 1782.5]]


def test_the_hybrid_of_a_case_worked_by_hand() -> None:
    m, b = torch.tensor([[2.0, 2.0], [-1.0, 0.5]]), torch.tensor([-1.0, 0.25])
    g = torch.tensor([[1.0, 10.0], [100.0, 1000.0]])
    hybrid = activation_of(ProluHybridSae(d_sae=2))
    assert hybrid(m, b).tolist() == [[2, 2.25], [0, 0.75]]
    # the first latent by ste, (1 + m) and m; the second by calculus
    assert [found.tolist() for found in gradients_of(hybrid, m, b, g)] == [[[3, 10], [0, 1000]], [2, 1010]]


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_exact_gradient_of_relu_is_that_of_autograd(dtype: torch.dtype) -> None:
    m, b, g = random_case(dtype)
    expected = gradients_of(lambda m, b: torch.relu(m + b), m.double(), b.double(), g.double())
    torch.testing.assert_close(gradients_of(RELU, m, b, g), tuple(each.to(dtype) for each in expected))


def test_the_exact_gradient_of_relu_agrees_with_finite_differences() -> None:
    m, b, _ = random_case()
    off_the_kinks = m[2:].add(1 / 16).requires_grad_()
    assert torch.autograd.gradcheck(RELU, (off_the_kinks, b.requires_grad_()))


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_straight_through_relu_takes_the_step_as_its_own_derivative(dtype: torch.dtype) -> None:
    def composed(m: Tensor, b: Tensor) -> Tensor:
        z = m + b
        return z * ((z > 0) + (z.relu() - z.relu().detach()))

    m, b, g = random_case(dtype)
    expected = gradients_of(composed, m.double(), b.double(), g.double())
    torch.testing.assert_close(
        gradients_of(RELU_STE, m, b, g),
        tuple(each.to(dtype) for each in expected),
        rtol=0.02 if dtype == torch.bfloat16 else 1e-6,
        atol=0.02 if dtype == torch.bfloat16 else 1e-6,
    )


@pytest.mark.parametrize("activation", [RELU, RELU_STE, activation_of(ProluHybridSae(d_sae=1))])
def test_no_gradient_passes_on_the_edge_of_the_gate_of_relu(activation: object) -> None:
    for_m, for_b = gradients_of(activation, torch.tensor([[-0.5]]), torch.tensor([0.5]), torch.full((1, 1), 1e30))
    assert (for_m.item(), for_b.item()) == (0, 0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_hybrid_takes_each_gradient_in_its_own_columns(name: str, dtype: torch.dtype) -> None:
    m, b, g = random_case(dtype)
    found = gradients_of(activation_of(ProluHybridSae(d_sae=12, estimator=ESTIMATORS[name])), m, b, g)
    expected = naive_hybrid_gradients(ESTIMATORS[name], m, b, g)
    close = {"rtol": 0.03, "atol": 0.05} if dtype == torch.bfloat16 else {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(found, tuple(each.to(dtype) for each in expected), **close)


def test_an_infinite_act_of_one_rule_leaves_the_columns_of_the_other_alone() -> None:
    m, b = torch.tensor([[torch.inf, 1.0]]), torch.tensor([0.5, -0.5])
    hybrid = activation_of(ProluHybridSae(d_sae=2, estimator=Surrogate(kernel=IdentityKernel())))
    for_m, for_b = gradients_of(hybrid, m, b, torch.ones(1, 2))
    assert (for_m.tolist(), for_b.tolist()) == ([[1, 2]], [1, 1])


@pytest.mark.parametrize("estimator", [Ste(), Surrogate(kernel=IdentityKernel())])
def test_the_hybrid_promises_zeros_off_the_gate_when_its_estimator_does(estimator: Ste | Surrogate) -> None:
    rule = activation_of(ProluHybridSae(d_sae=2, estimator=estimator)).rule
    assert rule.is_zero_off_gate == prolu_by(estimator).rule.is_zero_off_gate


def test_a_spec_names_its_function() -> None:
    assert activation_of(ProluSae(d_sae=4)) == prolu_by(Ste())
    assert activation_of(ProluSae(d_sae=4, estimator=ReluLike())) == prolu_by(ReluLike())
    hybrid = activation_of(ProluHybridSae(d_sae=4, estimator=SteBiasOnly()))
    assert hybrid.nonlinearity is prolu_hybrid
    assert len({RELU, RELU_STE, hybrid, activation_of(ProluHybridSae(d_sae=4)), prolu_by(Ste())}) == 5
