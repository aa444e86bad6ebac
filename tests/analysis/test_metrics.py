"""Each metric against its formula, whole and batch by batch."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from prolu.analysis.metrics import MetricSums, dead_fraction, dead_latents


def metrics_of(x: Tensor, x_hat: Tensor, acts: Tensor, batch_sizes: list[int] | None = None) -> dict[str, float]:
    sums = MetricSums(x.shape[1])
    for part in zip(*(tensor.split(batch_sizes or len(x)) for tensor in (x, x_hat, acts)), strict=True):
        sums.add(*part)
    return sums.values()


def data(rows: int = 300, *, offset: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(11)
    x = torch.randn(rows, 8, generator=generator) + offset
    return x, x + 0.3 * torch.randn(rows, 8, generator=generator), torch.randn(rows, 20, generator=generator).relu()


def test_metrics_of_a_case_worked_by_hand() -> None:
    x = torch.tensor([[0.0, 0.0], [2.0, 4.0]])
    x_hat = torch.tensor([[1.0, 0.0], [2.0, 2.0]])
    acts = torch.tensor([[0.0, 3.0, 0.5], [0.0, 1.0, 0.0]])
    # squared error 1 + 4; the mean is (1, 2), so the squared deviation is 2 * (1 + 4)
    # the first token is the zero vector, cosine 0; the second has x . x_hat = 12, ||x||^2 = 20, ||x_hat||^2 = 8
    assert metrics_of(x, x_hat, acts) == pytest.approx(
        {"l0": 1.5, "l1": 2.25, "mse": 1.25, "fvu": 0.5, "cosine": 12 / 160**0.5 / 2, "shrinkage": 9 / 12}
    )


def test_metrics_equal_their_formulas_over_the_whole_set() -> None:
    x, x_hat, acts = data()
    values = metrics_of(x, x_hat, acts)
    error, deviation = (x - x_hat).double().square().sum(), (x - x.mean(0)).double().square().sum()
    assert values["l0"] == pytest.approx((acts != 0).sum(1).double().mean().item())
    assert values["l1"] == pytest.approx(acts.sum(1).double().mean().item())
    assert values["mse"] == pytest.approx(error.item() / x.numel())
    assert values["fvu"] == pytest.approx((error / deviation).item(), rel=1e-6)
    x, x_hat = x.double(), x_hat.double()
    assert values["cosine"] == pytest.approx(torch.cosine_similarity(x, x_hat, dim=1).mean().item())
    assert values["shrinkage"] == pytest.approx((x_hat.square().sum() / (x * x_hat).sum()).item())


def test_shrinkage_is_the_divisor_that_makes_the_error_least() -> None:
    x, x_hat, acts = data()
    x_hat *= 0.7
    gamma = metrics_of(x, x_hat, acts)["shrinkage"]
    divisors = torch.linspace(0.5, 1.5, 2_001, dtype=torch.float64)
    errors = [(x_hat.double() / divisor - x.double()).square().sum() for divisor in divisors]
    assert divisors[int(torch.stack(errors).argmin())] == pytest.approx(gamma, abs=5e-4)


@pytest.mark.parametrize("factor", [0.25, 1.0, 3.0])
def test_reconstructions_that_are_too_short_by_a_factor_have_that_shrinkage(factor: float) -> None:
    x, _, acts = data()
    values = metrics_of(x, x * factor, acts)
    assert values["shrinkage"] == pytest.approx(factor, rel=1e-6)
    assert values["cosine"] == pytest.approx(1, abs=1e-12)


def test_a_token_without_direction_has_a_cosine_of_zero() -> None:
    x = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 0.0], [2.0, 0.0]])
    x_hat = torch.tensor([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0], [3.0, 0.0]])
    assert metrics_of(x, x_hat, torch.zeros(4, 1))["cosine"] == 0.25


def test_tokens_of_any_length_count_alike_in_the_cosine() -> None:
    x = torch.tensor([[1e-30, 0.0], [1e30, 0.0]])
    assert metrics_of(x, x.flip(0), torch.zeros(2, 1))["cosine"] == 1.0


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_batches_make_no_difference_even_far_from_the_origin(offset: float) -> None:
    x, x_hat, acts = data(offset=offset)
    x[100:] *= 3  # batches with different means and spreads
    whole = metrics_of(x, x_hat, acts)
    assert metrics_of(x, x_hat, acts, [1, 99, 150, 50]) == pytest.approx(whole, rel=1e-12)


def test_the_mean_over_batches_of_fvu_is_not_the_fvu() -> None:
    x = torch.tensor([[0.0], [2.0], [100.0], [102.0]])
    values = metrics_of(x, x - 1, torch.zeros(4, 1), [2, 2])
    assert values["fvu"] == pytest.approx(4 / (4 * 50**2 + 4))


@given(
    sizes=st.lists(st.integers(1, 20), min_size=1, max_size=6),
    seed=st.integers(0, 2**32),
    scale=st.sampled_from([1e-3, 1.0, 1e4]),
)
def test_any_split_into_batches_gives_the_same_metrics(sizes: list[int], seed: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(sum(sizes), 4, generator=generator) * scale
    x_hat = x + 0.5 * scale * torch.randn(x.shape, generator=generator)
    acts = torch.randn(len(x), 6, generator=generator).relu()
    assert metrics_of(x, x_hat, acts, sizes) == pytest.approx(metrics_of(x, x_hat, acts), rel=1e-9)


@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_predicting_the_mean_gives_an_fvu_of_one(offset: float) -> None:
    x, _, acts = data(offset=offset)
    mean = x.double().mean(0).expand(len(x), -1)
    assert metrics_of(x, mean, acts, [100, 200])["fvu"] == pytest.approx(1, abs=1e-12)


def test_a_perfect_reconstruction_has_no_error_the_same_direction_and_the_same_length() -> None:
    x, _, acts = data()
    values = metrics_of(x, x, acts, [100, 200])
    assert values["fvu"] == 0
    assert values["mse"] == 0
    assert values["cosine"] == pytest.approx(1, abs=1e-14)
    assert values["shrinkage"] == pytest.approx(1, abs=1e-14)


def test_fvu_is_left_out_where_x_does_not_vary() -> None:
    x = torch.ones(4, 3)
    assert set(metrics_of(x, x + 1, torch.zeros(4, 2), [2, 2])) == {"l0", "l1", "mse", "cosine", "shrinkage"}


def test_shrinkage_is_left_out_where_nothing_is_reconstructed() -> None:
    x, _, acts = data()
    assert set(metrics_of(x, torch.zeros_like(x), acts)) == {"l0", "l1", "mse", "fvu", "cosine"}


def test_sums_are_exact_where_float32_would_not_be() -> None:
    acts = torch.full((20_000, 1), 1 + 2.0**-20)
    assert metrics_of(torch.zeros(20_000, 1), torch.zeros(20_000, 1), acts)["l1"] == 1 + 2.0**-20


def test_metrics_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        MetricSums(3).values()


def test_a_latent_is_dead_once_it_has_not_fired_for_the_whole_window() -> None:
    tokens_since_fired = torch.tensor([0, 99, 100, 1_000])
    assert dead_latents(tokens_since_fired, window=100).tolist() == [False, False, True, True]
    assert dead_fraction(tokens_since_fired, window=100) == 0.5
    assert dead_fraction(torch.zeros(4, dtype=torch.int64), window=1) == 0.0
