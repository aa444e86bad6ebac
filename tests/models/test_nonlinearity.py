"""ProLU's forward pass against its definition, at and around the edges of its gate."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prolu.models.nonlinearity import (
    effective_thresholds,
    jumprelu,
    keep_where_positive,
    keep_where_within,
    prolu,
    prolu_hybrid,
    relu,
)

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=True)


def prolu_by_definition(m: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """m * T(m) * T(m + b), element by element."""
    acts = torch.zeros_like(m)
    for row in range(m.shape[0]):
        for latent in range(m.shape[1]):
            if m[row, latent] > 0 and m[row, latent] + b[latent] > 0:
                acts[row, latent] = m[row, latent]
    return acts


def neighbours(value: float, dtype: torch.dtype) -> list[float]:
    """The value and the two representable numbers beside it."""
    here = torch.tensor(value, dtype=dtype)
    return [
        torch.nextafter(here, torch.tensor(towards, dtype=dtype)).item() for towards in (-math.inf, value, math.inf)
    ]


def test_prolu_of_a_case_worked_by_hand() -> None:
    m = torch.tensor([[2.0, 2.0], [-1.0, 0.5]])
    b = torch.tensor([-1.0, -1.0])
    assert prolu(m, b).tolist() == [[2.0, 2.0], [0.0, 0.0]]


def test_a_positive_bias_acts_as_zero() -> None:
    m = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(prolu(m, torch.full((8,), 0.7)), prolu(m, torch.zeros(8)))
    assert torch.equal(prolu(m, torch.zeros(8)), m.relu())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("b", [-3.0, -1e-3, -1e-38, 0.0, 1e-38, 2.0])
def test_the_gate_is_strict_at_m_zero_and_at_m_plus_b_zero(b: float, dtype: torch.dtype) -> None:
    at = neighbours(0.0, dtype) + neighbours(-b, dtype)
    m = torch.tensor(at, dtype=dtype).unsqueeze(1)
    bias = torch.tensor([b], dtype=dtype)
    acts = prolu(m, bias)
    assert torch.equal(acts, prolu_by_definition(m, bias))
    assert acts[1].item() == 0
    assert acts[4].item() == 0


@given(m=FLOATS, b=FLOATS)
def test_prolu_equals_its_definition_to_the_bit(m: float, b: float) -> None:
    for dtype in (torch.float32, torch.float64):
        for bias in (b, -m):
            values, biases = torch.tensor([[m]], dtype=dtype), torch.tensor([bias], dtype=dtype)
            assert torch.equal(prolu(values, biases), prolu_by_definition(values, biases))


@given(m=FLOATS, b=FLOATS)
def test_prolu_equals_jumprelu_at_the_effective_threshold(m: float, b: float) -> None:
    values, biases = torch.tensor([[m]]), torch.tensor([b])
    assert torch.equal(prolu(values, biases), jumprelu(values, effective_thresholds(biases)))


@given(z=FLOATS, theta=FLOATS)
def test_jumprelu_equals_its_definition_to_the_bit(z: float, theta: float) -> None:
    for dtype in (torch.float32, torch.float64):
        for threshold in (theta, z):
            values, thresholds = torch.tensor([[z]], dtype=dtype), torch.tensor([threshold], dtype=dtype)
            assert torch.equal(jumprelu(values, thresholds), values.relu() * (values > thresholds))


@given(m=FLOATS, b=FLOATS)
def test_the_hybrid_is_prolu_below_zero_and_relu_from_zero_on(m: float, b: float) -> None:
    for bias in (b, -m, 0.0, -0.0):
        values, biases = torch.tensor([[m]]), torch.tensor([bias])
        expected = prolu(values, biases) if bias < 0 else relu(values, biases)
        assert torch.equal(prolu_hybrid(values, biases), expected)


def test_effective_thresholds_are_zero_in_the_slack_of_positive_biases() -> None:
    assert effective_thresholds(torch.tensor([-2.0, -0.5, 0.0, 3.0])).tolist() == [2.0, 0.5, 0.0, 0.0]


def test_relu_shifts_the_magnitude_by_the_bias() -> None:
    m = torch.tensor([[2.0, -1.0, 0.5]])
    assert relu(m, torch.tensor([-0.5, 2.0, -0.5])).tolist() == [[1.5, 1.0, 0.0]]


@pytest.mark.parametrize("nonlinearity", [relu, prolu, prolu_hybrid, jumprelu])
@pytest.mark.parametrize(("m", "b"), [(math.nan, 0.0), (-1.0, math.nan), (1.0, math.nan)])
def test_nan_is_never_hidden_by_a_gate(
    nonlinearity: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], m: float, b: float
) -> None:
    acts = nonlinearity(torch.tensor([[m, 1.0]]), torch.tensor([b, 0.5]))
    assert acts[0, 0].isnan()
    assert not acts[0, 1].isnan()


@pytest.mark.parametrize("nonlinearity", [relu, prolu, prolu_hybrid, jumprelu])
def test_acts_have_the_precision_of_m_and_are_never_negative(
    nonlinearity: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> None:
    m = torch.randn(64, 8, generator=torch.Generator().manual_seed(0), dtype=torch.bfloat16)
    b = torch.linspace(-1, 1, 8)
    acts = nonlinearity(m, b)
    assert acts.dtype == torch.bfloat16
    assert (acts >= 0).all()


def test_a_float32_bias_moves_the_gate_of_bfloat16_where_float32_says() -> None:
    # Beside 1 bfloat16 numbers lie 2^-7 apart: rounded, both biases would be -1.
    m, b = torch.ones(1, 2, dtype=torch.bfloat16), torch.tensor([2**-10, -(2**-10)]) - 1
    assert prolu(m, b).tolist() == [[1, 0]]


def test_an_infinite_bias_opens_or_shuts_the_gate_for_good() -> None:
    m, b = torch.tensor([[-3e38, 3e38]]).T, torch.tensor([math.inf, -math.inf])
    assert prolu(m.expand(2, 2), b).tolist() == [[0, 0], [pytest.approx(3e38), 0]]


def test_where_infinities_cancel_relu_is_nan_and_an_infinite_projection_passes_the_gates() -> None:
    m, b = torch.tensor([[math.inf]]), torch.tensor([-math.inf])
    assert relu(m, b).isnan().all()
    assert [each.item() for each in (prolu(m, b), prolu_hybrid(m, b), jumprelu(m, -b))] == [math.inf] * 3


def test_keep_where_positive_is_a_product_with_the_step_function() -> None:
    values = torch.tensor([[1.0, -2.0, 3.0, math.inf]])
    z = torch.tensor([[0.1, 5.0, 0.0, -1.0]])
    assert keep_where_positive(values, z).tolist() == [[1.0, -2.0, 0.0, 0.0]]
    assert keep_where_positive(values, z, out=z) is z
    assert z.tolist() == [[1.0, -2.0, 0.0, 0.0]]


def test_keep_where_within_is_strict_at_both_ends() -> None:
    values, z = torch.tensor([1.0, -2.0, 3.0, math.inf]), torch.tensor([-0.5, 0.25, 0.5, 1.0])
    assert keep_where_within(values, z, low=-0.5, high=0.5).tolist() == [0, -2, 0, 0]
    assert keep_where_within(values, z, low=-0.5, high=0.5, out=z) is z
    assert z.tolist() == [0, -2, 0, 0]
