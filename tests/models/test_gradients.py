"""Every estimator against a case worked by hand and against a naive reference written from the formulas."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from prolu.models.gradients import activation_of, prolu_by
from prolu.spec.estimators import ReluLike, Ste
from prolu.spec.sae import ProluSae, ReluSae

prolu_relu_like, prolu_ste = prolu_by(ReluLike()), prolu_by(Ste())
relu_with_true_gradient = activation_of(ReluSae(d_sae=4))

# The formulas of the science page for one element: (g, gate, m) -> gradient.
RELU_LIKE = (lambda g, gate, _m: g * gate, lambda g, gate, _m: g * gate)
STE = (lambda g, gate, m: g * gate * (1 + m), lambda g, gate, m: g * gate * m)

PROLU_ESTIMATORS = [
    pytest.param(prolu_relu_like, RELU_LIKE, id="relu_like"),
    pytest.param(prolu_ste, STE, id="ste"),
]
Formula = Callable[[float, float, float], float]


def gradients_of(activation: Callable[[Tensor, Tensor], Tensor], m: Tensor, b: Tensor, g: Tensor) -> tuple[Tensor, ...]:
    m, b = m.clone().requires_grad_(), b.clone().requires_grad_()
    return torch.autograd.grad(activation(m, b), (m, b), g)


def naive_gradients(formulas: tuple[Formula, Formula], m: Tensor, b: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    for_m, for_b = torch.zeros_like(m), torch.zeros_like(b)
    for row in range(m.shape[0]):
        for latent in range(m.shape[1]):
            here, bias, upstream = m[row, latent].item(), b[latent].item(), g[row, latent].item()
            gate = 1.0 if here > 0 and here + bias > 0 else 0.0
            for_m[row, latent] = formulas[0](upstream, gate, here)
            for_b[latent] += formulas[1](upstream, gate, here)
    return for_m, for_b


def random_case(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    m = torch.randn(17, 11, generator=generator, dtype=dtype)
    b = torch.randn(11, generator=generator, dtype=dtype)
    m[0] = 0.0  # the edges of the gate
    m[1] = -b
    return m, b, torch.randn(17, 11, generator=generator, dtype=dtype)


# Worked by hand for m = [[2, 2], [-1, 0.5]], b = [-1, -1], g = [[1, 10], [100, 1000]]: the gate is [[1, 1], [0, 0]].
@pytest.mark.parametrize(
    ("activation", "for_m", "for_b"),
    [
        pytest.param(prolu_relu_like, [[1.0, 10.0], [0.0, 0.0]], [1.0, 10.0], id="relu_like"),
        pytest.param(prolu_ste, [[3.0, 30.0], [0.0, 0.0]], [2.0, 20.0], id="ste"),
        pytest.param(relu_with_true_gradient, [[1.0, 10.0], [0.0, 0.0]], [1.0, 10.0], id="relu"),
    ],
)
def test_gradients_of_a_case_worked_by_hand(
    activation: Callable[[Tensor, Tensor], Tensor], for_m: list[list[float]], for_b: list[float]
) -> None:
    m = torch.tensor([[2.0, 2.0], [-1.0, 0.5]])
    b = torch.tensor([-1.0, -1.0])
    g = torch.tensor([[1.0, 10.0], [100.0, 1000.0]])
    found_m, found_b = gradients_of(activation, m, b, g)
    assert found_m.tolist() == for_m
    assert found_b.tolist() == for_b


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("activation", "formulas"), PROLU_ESTIMATORS)
def test_gradients_equal_the_formulas_element_by_element(
    activation: Callable[[Tensor, Tensor], Tensor], formulas: tuple[Formula, Formula], dtype: torch.dtype
) -> None:
    m, b, g = random_case(dtype)
    found, expected = gradients_of(activation, m, b, g), naive_gradients(formulas, m, b, g)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("activation", "formulas"), PROLU_ESTIMATORS)
def test_the_gradient_is_exactly_zero_off_the_gate(
    activation: Callable[[Tensor, Tensor], Tensor], formulas: tuple[Formula, Formula]
) -> None:
    m, b, g = random_case(torch.float32)
    silent = activation(m, b) == 0
    assert silent.any()
    assert not gradients_of(activation, m, b, g * 1e30)[0][silent].any()


@pytest.mark.parametrize("at", ["m = 0", "m + b = 0"])
@pytest.mark.parametrize(("activation", "formulas"), PROLU_ESTIMATORS)
def test_no_gradient_passes_on_the_edge_of_the_gate(
    activation: Callable[[Tensor, Tensor], Tensor], formulas: tuple[Formula, Formula], at: str
) -> None:
    m, b = ([[0.0]], [0.5]) if at == "m = 0" else ([[0.5]], [-0.5])
    for_m, for_b = gradients_of(activation, torch.tensor(m), torch.tensor(b), torch.ones(1, 1))
    assert for_m.item() == 0
    assert for_b.item() == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_gradient_of_relu_is_the_true_one(dtype: torch.dtype) -> None:
    m, b, g = random_case(dtype)
    found = gradients_of(relu_with_true_gradient, m, b, g)
    expected = gradients_of(lambda m, b: torch.relu(m + b), m, b, g)
    torch.testing.assert_close(found, expected)


def test_the_gradient_of_relu_agrees_with_finite_differences() -> None:
    m, b, _ = random_case(torch.float64)
    inputs = (m[2:].requires_grad_(), b.requires_grad_())
    assert torch.autograd.gradcheck(relu_with_true_gradient, inputs)


@pytest.mark.parametrize(
    ("spec", "activation"),
    [
        (ReluSae(d_sae=4), relu_with_true_gradient),
        (ProluSae(d_sae=4, estimator=ReluLike()), prolu_relu_like),
        (ProluSae(d_sae=4, estimator=Ste()), prolu_ste),
        (ProluSae(d_sae=4), prolu_ste),
    ],
)
def test_a_spec_names_its_estimator(spec: ReluSae | ProluSae, activation: Callable[[Tensor, Tensor], Tensor]) -> None:
    assert activation_of(spec) == activation
