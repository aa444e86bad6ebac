"""ProLU's forward pass against its definition, at and around the edges of its gate."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prolu.models.nonlinearity import effective_thresholds, keep_where_positive, prolu, relu

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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
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
    thresholds = effective_thresholds(biases)
    jumprelu = values.relu() * (values > thresholds)
    assert torch.equal(prolu(values, biases), jumprelu)


def test_effective_thresholds_are_zero_in_the_slack_of_positive_biases() -> None:
    assert effective_thresholds(torch.tensor([-2.0, -0.5, 0.0, 3.0])).tolist() == [2.0, 0.5, 0.0, 0.0]


def test_relu_shifts_the_magnitude_by_the_bias() -> None:
    m = torch.tensor([[2.0, -1.0, 0.5]])
    assert relu(m, torch.tensor([-0.5, 2.0, -0.5])).tolist() == [[1.5, 1.0, 0.0]]


def test_nan_is_never_hidden_by_a_gate() -> None:
    nan = torch.tensor([[math.nan]])
    assert prolu(nan, torch.zeros(1)).isnan().all()
    assert relu(nan, torch.zeros(1)).isnan().all()


def test_keep_where_positive_is_a_product_with_the_step_function() -> None:
    values = torch.tensor([[1.0, -2.0, 3.0, 4.0]])
    z = torch.tensor([[0.1, 5.0, 0.0, -1.0]])
    assert keep_where_positive(values, z).tolist() == [[1.0, -2.0, 0.0, 0.0]]
