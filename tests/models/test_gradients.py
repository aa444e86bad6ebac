"""Every estimator of ProLU against cases worked by hand, the formulas, autograd, and what it promises of zeros and memory."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from prolu.models.gradients import Activation, is_zero_off_gate, prolu_by
from prolu.models.gradients_surrogate import SurrogateRule
from prolu.models.kernels import heaviside
from prolu.models.nonlinearity import effective_thresholds, jumprelu, prolu
from prolu.spec.estimators import (
    Clamp01Kernel,
    Clamp11Kernel,
    Estimator,
    ExpKernel,
    GaussianKernel,
    HeavisideKernel,
    IdentityKernel,
    Interpolated,
    Kernel,
    RectangleKernel,
    ReluLike,
    SigmoidKernel,
    Ste,
    SteBiasOnly,
    SteInputOnly,
    Surrogate,
    TriangleKernel,
    UnitKernel,
)
from tests.models.naive_gradients import ESTIMATORS, KERNELS, ZERO_OFF_GATE, naive_gradients

EVERY_ESTIMATOR = pytest.mark.parametrize("name", ESTIMATORS)
FINITE = st.floats(min_value=-8, max_value=8, width=32)


def gradients_of(activation: Callable[[Tensor, Tensor], Tensor], m: Tensor, b: Tensor, g: Tensor) -> tuple[Tensor, ...]:
    m, b = m.clone().requires_grad_(), b.clone().requires_grad_()
    return torch.autograd.grad(activation(m, b), (m, b), g)


def random_case(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Coarse numbers, the edges of gates and windows among them, whose sums are exact in every dtype."""
    generator = torch.Generator().manual_seed(7)
    m, b, g = (torch.randint(-16, 17, shape, generator=generator) / 8 for shape in ((40, 12), (12,), (40, 12)))
    m[0] = 0.0
    m[1] = -b
    return m.to(dtype), b.to(dtype), g.to(dtype)


# m = [[2, 2], [-1, 0.5]], b = [-1, -1.5], g = [[1, 10], [100, 1000]]. So m + b = [[1, 0.5], [-2, -1]], the gate is
# [[1, 1], [0, 0]], and relu(m) = [[2, 2], [0, 0.5]]. Of a surrogate the comment gives k(m + b), then g relu(m) k(m + b),
# which is added to g gate = [[1, 10], [0, 0]]; and of the product form k(m) in the first row, the only one with T(m + b) = 1.
BY_HAND: list[tuple[Estimator, list[list[float]], list[float]]] = [
    (ReluLike(), [[1, 10], [0, 0]], [1, 10]),
    (Ste(), [[3, 30], [0, 0]], [2, 20]),
    (SteBiasOnly(), [[1, 10], [0, 0]], [2, 20]),
    (SteInputOnly(), [[3, 30], [0, 0]], [1, 10]),
    # m: lerp(1, 2 * 1 + 2, 0.25) = 1.75; b: lerp(1, 2, 0.75) = 1.75
    (Interpolated(w_m=0.25, w_b=0.75, w_gate=2), [[1.75, 17.5], [0, 0]], [1.75, 17.5]),
    # m: lerp(1, 1 + 2, 0.5) = 2; b: lerp(1, 2, 0.5) = 1.5
    (Interpolated(), [[2, 20], [0, 0]], [1.5, 15]),
    # [[1, 1], [0, 0]], [[2, 20], [0, 0]]
    (Surrogate(kernel=HeavisideKernel()), [[3, 30], [0, 0]], [2, 20]),
    # k(2) = 1: [2, 20] more
    (Surrogate(kernel=HeavisideKernel(), form="product"), [[5, 50], [0, 0]], [2, 20]),
    # [[0, 1], [0, 0]], for 1 is outside; [[0, 20], [0, 0]]
    (Surrogate(kernel=UnitKernel()), [[1, 30], [0, 0]], [0, 20]),
    # |z| < 2: [[1/4, 1/4], [0, 1/4]], [[0.5, 5], [0, 125]]
    (Surrogate(kernel=RectangleKernel(epsilon=4)), [[1.5, 15], [0, 125]], [0.5, 130]),
    # k(2) = 0, on the edge
    (Surrogate(kernel=RectangleKernel(epsilon=4), form="product"), [[1.5, 15], [0, 125]], [0.5, 130]),
    # [[1, 0.5], [0, 0]], [[2, 10], [0, 0]]
    (Surrogate(kernel=Clamp01Kernel()), [[3, 20], [0, 0]], [2, 10]),
    # [[1, 0.5], [-1, -1]], [[2, 10], [0, -500]]
    (Surrogate(kernel=Clamp11Kernel()), [[3, 20], [0, -500]], [2, -490]),
    # k(2) = 1: [2, 20] more
    (Surrogate(kernel=Clamp11Kernel(), form="product"), [[5, 40], [0, -500]], [2, -490]),
    # [[1, 1], [1, 1]], [[2, 20], [0, 500]]
    (Surrogate(kernel=IdentityKernel()), [[3, 30], [0, 500]], [2, 520]),
    (Surrogate(kernel=IdentityKernel(), form="product"), [[5, 50], [0, 500]], [2, 520]),
    # (1 - |z| / 2) / 2: [[1/4, 3/8], [0, 1/4]], [[0.5, 7.5], [0, 125]]
    (Surrogate(kernel=TriangleKernel(epsilon=2)), [[1.5, 17.5], [0, 125]], [0.5, 132.5]),
    # e = 2.718282, e^0.5 = 1.648721, e^-1 = 0.367879: [[5.436564, 32.97443], [0, 183.93972]]
    (Surrogate(kernel=ExpKernel()), [[6.436564, 42.97443], [0, 183.93972]], [5.436564, 216.91414]),
    # the normal density, 0.2419707 at 1, 0.3520653 at 0.5: [[0.4839414, 7.041306], [0, 120.98536]]
    (Surrogate(kernel=GaussianKernel(epsilon=1)), [[1.4839414, 17.041306], [0, 120.98536]], [0.4839414, 128.02667]),
    # 0.1966119 at 1, 0.2350037 at 0.5: [[0.3932239, 4.700074], [0, 98.30597]]
    (Surrogate(kernel=SigmoidKernel(epsilon=1)), [[1.3932239, 14.700074], [0, 98.30597]], [0.3932239, 103.00604]),
]


@pytest.mark.parametrize(("estimator", "for_m", "for_b"), BY_HAND)
def test_gradients_of_a_case_worked_by_hand(estimator: Estimator, for_m: list[list[float]], for_b: list[float]) -> None:
    m = torch.tensor([[2.0, 2.0], [-1.0, 0.5]], dtype=torch.float64)
    b = torch.tensor([-1.0, -1.5], dtype=torch.float64)
    g = torch.tensor([[1.0, 10.0], [100.0, 1000.0]], dtype=torch.float64)
    found_m, found_b = gradients_of(prolu_by(estimator), m, b, g)
    torch.testing.assert_close(found_m, torch.tensor(for_m, dtype=torch.float64), rtol=1e-6, atol=0)
    torch.testing.assert_close(found_b, torch.tensor(for_b, dtype=torch.float64), rtol=1e-6, atol=0)


def test_the_product_form_passes_a_gradient_to_a_negative_input_under_an_open_bias_gate() -> None:
    # m = -1, b = 2, g = 1, k = 1: T(m) is 0, and m k(m) T(m + b) = -1
    activation = prolu_by(Surrogate(kernel=IdentityKernel(), form="product"))
    for_m, for_b = gradients_of(activation, torch.tensor([[-1.0]]), torch.tensor([2.0]), torch.ones(1, 1))
    assert (for_m.item(), for_b.item()) == (-1, 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@EVERY_ESTIMATOR
def test_gradients_equal_the_formulas_element_by_element(name: str, dtype: torch.dtype) -> None:
    m, b, g = random_case(dtype)
    found = gradients_of(prolu_by(ESTIMATORS[name]), m, b, g)
    expected = naive_gradients(ESTIMATORS[name], m, b, g)
    close = {"rtol": 0.03, "atol": 0.05} if dtype == torch.bfloat16 else {"rtol": 1e-4, "atol": 1e-5}
    if dtype == torch.float64:
        close = {"rtol": 1e-12, "atol": 1e-12}
    torch.testing.assert_close(found, tuple(gradient.to(dtype) for gradient in expected), **close)


ANTIDERIVATIVES: list[tuple[Kernel, Callable[[Tensor], Tensor]]] = [
    (HeavisideKernel(), torch.relu),
    (UnitKernel(), lambda z: z.clamp(0, 1)),
    (RectangleKernel(epsilon=0.5), lambda z: (z / 0.5).clamp(-0.5, 0.5)),
    (Clamp01Kernel(), lambda z: functional.huber_loss(z.relu(), torch.zeros_like(z), reduction="none")),
    (Clamp11Kernel(), lambda z: functional.huber_loss(z, torch.zeros_like(z), reduction="none")),
    (IdentityKernel(), lambda z: z),
    (ExpKernel(), torch.exp),
    (TriangleKernel(epsilon=0.5), lambda z: (u := (z / 0.5).clamp(-1, 1)) - u * u.abs() / 2),
    (GaussianKernel(epsilon=0.5), lambda z: torch.special.ndtr(z / 0.5)),
    (SigmoidKernel(epsilon=0.5), lambda z: torch.sigmoid(z / 0.5)),
]


@pytest.mark.parametrize("form", ["gate", "product"])
@pytest.mark.parametrize(("kernel", "antiderivative"), ANTIDERIVATIVES)
def test_a_surrogate_is_what_autograd_makes_of_a_step_with_the_kernel_for_its_derivative(
    kernel: Kernel, antiderivative: Callable[[Tensor], Tensor], form: str
) -> None:
    def straight_through_step(z: Tensor) -> Tensor:
        smooth = antiderivative(z)
        return (z > 0) + (smooth - smooth.detach())

    def composed(m: Tensor, b: Tensor) -> Tensor:
        by_input = m.relu() if form == "gate" else m * straight_through_step(m)
        return by_input * straight_through_step(m + b)

    generator = torch.Generator().manual_seed(1)
    m, b, g = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((64, 9), (9,), (64, 9)))
    estimator = Surrogate.model_validate({"kernel": kernel, "form": form})
    torch.testing.assert_close(gradients_of(prolu_by(estimator), m, b, g), gradients_of(composed, m, b, g))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_heaviside_surrogate_is_ste_to_the_bit_also_by_the_rule_of_any_kernel(dtype: torch.dtype) -> None:
    m, b, g = random_case(dtype)
    expected = gradients_of(prolu_by(Ste()), m, b, g)
    by_any_kernel = Activation(prolu, SurrogateRule(heaviside, is_product=False, is_zero_off_gate=False))
    for activation in (prolu_by(Surrogate(kernel=HeavisideKernel())), by_any_kernel):
        found = gradients_of(activation, m, b, g)
        assert torch.equal(found[0], expected[0])
        assert torch.equal(found[1], expected[1])


def test_interpolation_reaches_both_of_its_ends() -> None:
    case = random_case(torch.float32)
    for weights, end in (
        ({"w_m": 0, "w_b": 0}, ReluLike()),
        ({"w_m": 1, "w_b": 1}, Ste()),
        ({"w_m": 0, "w_b": 1}, SteBiasOnly()),
    ):
        found, expected = gradients_of(prolu_by(Interpolated(**weights)), *case), gradients_of(prolu_by(end), *case)
        assert torch.equal(found[0], expected[0])
        assert torch.equal(found[1], expected[1])


def test_which_estimators_are_zero_off_the_gate_is_written_down() -> None:
    assert {name for name, estimator in ESTIMATORS.items() if is_zero_off_gate(estimator)} == ZERO_OFF_GATE


@pytest.mark.parametrize("name", sorted(ZERO_OFF_GATE))
@settings(max_examples=40)
@given(m=FINITE, b=FINITE, g=st.sampled_from([1.0, -1e30, math.inf, -math.inf]))
def test_no_gradient_passes_to_a_latent_that_did_not_fire(name: str, m: float, b: float, g: float) -> None:
    if m > 0 and m + b > 0:
        m = -m
    for_m, for_b = gradients_of(prolu_by(ESTIMATORS[name]), torch.tensor([[m]]), torch.tensor([b]), torch.tensor([[g]]))
    assert (for_m.item(), for_b.item()) == (0, 0)


@pytest.mark.parametrize("name", sorted(set(ESTIMATORS) - ZERO_OFF_GATE))
def test_the_other_surrogates_reach_latents_that_did_not_fire(name: str) -> None:
    m, b = torch.tensor([[0.5]]), torch.tensor([-0.6])
    for_m, for_b = gradients_of(prolu_by(ESTIMATORS[name]), m, b, torch.ones(1, 1))
    assert for_m.item() != 0
    assert for_b.item() != 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@EVERY_ESTIMATOR
def test_gradients_follow_the_formulas_at_edges_subnormals_and_infinities(name: str, dtype: torch.dtype) -> None:
    tiny = torch.finfo(dtype).tiny
    subnormal = torch.nextafter(torch.zeros((), dtype=dtype), torch.ones((), dtype=dtype)).item()
    some = [sign * value for value in (0.0, subnormal, tiny, 0.25, 0.5, 1.0, 15.0, math.inf) for sign in (1, -1)]
    pairs = [(m, b) for m in some for b in some if not math.isnan(m + b)]  # the sum of opposite infinities says nothing
    m, b = torch.tensor(pairs, dtype=dtype).T
    # Of this one, with weights of either sign, an infinite g makes opposite infinities.
    for upstream in [1.5] if name == "interpolated anyhow" else [1.5, -math.inf]:
        g = torch.full((1, len(pairs)), upstream, dtype=dtype)
        found = gradients_of(prolu_by(ESTIMATORS[name]), m.unsqueeze(0), b, g)
        expected = naive_gradients(ESTIMATORS[name], m.unsqueeze(0), b, g)
        rtol = 0.02 if dtype == torch.bfloat16 else 1e-4
        torch.testing.assert_close(found, tuple(e.to(dtype) for e in expected), equal_nan=True, rtol=rtol, atol=1e-30)
        for values, formula in zip(found, expected, strict=True):
            assert not values[formula == 0].any(), "a gate that is shut lets something through"


@pytest.mark.parametrize(("m", "b"), [(math.nan, 1.0), (math.nan, -1.0), (3.0, math.nan), (-3.0, math.nan)])
@EVERY_ESTIMATOR
def test_a_nan_shows_in_acts_and_stops_no_gradient(name: str, m: float, b: float) -> None:
    inputs = torch.tensor([[m]]), torch.tensor([b])
    assert prolu_by(ESTIMATORS[name])(*inputs).isnan().all()
    assert gradients_of(prolu_by(ESTIMATORS[name]), *inputs, torch.ones(1, 1))[0].item() != 0


@EVERY_ESTIMATOR
def test_every_estimator_computes_jumprelu_at_the_effective_threshold(name: str) -> None:
    m, b, _ = random_case(torch.float32)
    assert torch.equal(prolu_by(ESTIMATORS[name])(m, b), jumprelu(m, effective_thresholds(b)))


@EVERY_ESTIMATOR
def test_the_backward_pass_is_linear_in_the_gradient(name: str) -> None:
    m, b, g = random_case()
    other = g.flip(0)
    activation = prolu_by(ESTIMATORS[name])
    of_sum = gradients_of(activation, m, b, 3 * g - 0.5 * other)
    of_parts = zip(gradients_of(activation, m, b, g), gradients_of(activation, m, b, other), strict=True)
    torch.testing.assert_close(of_sum, tuple(3 * first - 0.5 * second for first, second in of_parts))


@EVERY_ESTIMATOR
def test_in_bfloat16_the_bias_gradient_is_summed_in_float32(name: str) -> None:
    m, b = torch.full((301, 1), 0.5, dtype=torch.bfloat16), torch.tensor([-0.25])
    acts = prolu_by(ESTIMATORS[name])(m, b)
    for_m, for_b = gradients_of(prolu_by(ESTIMATORS[name]), m, b, torch.ones_like(m))
    assert (acts.dtype, for_m.dtype, for_b.dtype) == (torch.bfloat16, torch.bfloat16, torch.float32)
    expected = naive_gradients(ESTIMATORS[name], m, b, torch.ones_like(m))[1]
    torch.testing.assert_close(for_b, expected.float(), rtol=1e-4, atol=0)  # a bfloat16 holds 300 or 302, not 301


@EVERY_ESTIMATOR
def test_the_backward_pass_keeps_acts_alone_where_it_can(name: str) -> None:
    m, b, _ = random_case(torch.float32)
    m, b, kept = m.requires_grad_(), b.requires_grad_(), []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        acts = prolu_by(ESTIMATORS[name])(m, b)
    addresses = {tensor.data_ptr() for tensor in kept}
    assert acts.data_ptr() in addresses
    assert (m.data_ptr() in addresses) == (name not in ZERO_OFF_GATE)
    assert addresses <= {acts.data_ptr(), m.data_ptr(), b.data_ptr()}


@EVERY_ESTIMATOR
def test_the_backward_pass_leaves_what_it_was_given_as_it_was(name: str) -> None:
    m, b, g = random_case()
    m, b, before = m.requires_grad_(), b.requires_grad_(), g.clone()
    acts = prolu_by(ESTIMATORS[name])(m, b)
    first = torch.autograd.grad(acts, (m, b), g, retain_graph=True)
    assert torch.equal(g, before)
    for again, once in zip(torch.autograd.grad(acts, (m, b), g), first, strict=True):
        assert torch.equal(again, once)


@EVERY_ESTIMATOR
def test_an_empty_batch_has_no_acts_and_a_bias_gradient_of_zero(name: str) -> None:
    for_m, for_b = gradients_of(prolu_by(ESTIMATORS[name]), torch.zeros(0, 3), torch.ones(3), torch.zeros(0, 3))
    assert for_m.shape == (0, 3)
    assert for_b.tolist() == [0, 0, 0]


def test_a_synthetic_gradient_has_no_gradient_of_its_own() -> None:
    m, b, g = random_case()
    m = m.requires_grad_()
    (for_m,) = torch.autograd.grad(prolu_by(Ste())(m, b), m, g.requires_grad_(), create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        for_m.sum().backward()


def test_the_cases_cover_every_kernel_of_the_job_language() -> None:
    named = Surrogate.model_json_schema()["properties"]["kernel"]["discriminator"]["mapping"]
    assert set(KERNELS) == set(named)
