"""Which synthetic features are active: the probability of each, the correlation of two, and the memory it takes."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from prolu.data.activity import active_pairs, bernoulli_indices
from prolu.spec import SyntheticData


def _activity(spec: SyntheticData, samples: int) -> Tensor:
    pairs = active_pairs(spec, samples, torch.Generator().manual_seed(0))
    assert (pairs.diff() > 0).all()
    active = torch.zeros(samples * spec.n_features, dtype=torch.float64)
    active[pairs] = 1
    return active.reshape(samples, spec.n_features)


@pytest.mark.parametrize("correlation", [0.0, 0.09, 0.5, 1.0])
@pytest.mark.parametrize("probability", [0.05, 0.4])
def test_each_feature_has_its_probability_and_two_of_a_group_their_correlation(
    correlation: float, probability: float
) -> None:
    spec = SyntheticData(n_features=10, active_features=10 * probability, correlation=correlation, group_size=4)
    active = _activity(spec, 60_000)
    # Standard errors: of a rate below 0.002, of a correlation below 0.02 (at p = 0.05 and high correlation).
    assert (active.mean(dim=0) - probability).abs().max() < 0.008
    found = torch.corrcoef(active.T)
    group = torch.arange(10) // 4  # the last group has two features
    expected = torch.where(group[:, None] == group[None, :], correlation, 0.0).fill_diagonal_(1)
    torch.testing.assert_close(found, expected.double(), atol=0.04, rtol=0)


def test_at_correlation_one_a_group_is_active_as_one() -> None:
    spec = SyntheticData(n_features=12, active_features=3.0, correlation=1.0, group_size=3)
    active = _activity(spec, 2_000).reshape(2_000, 4, 3)
    assert set(active.sum(dim=2).unique().tolist()) == {0.0, 3.0}


def test_features_that_are_always_active_are_so_at_every_correlation() -> None:
    for correlation in (0.0, 0.3, 1.0):
        spec = SyntheticData(n_features=6, active_features=6.0, correlation=correlation)
        assert _activity(spec, 50).all()


class _LargestTensor(TorchDispatchMode):
    """Remembers the most elements that any operation gave."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self.elements = max(self.elements, result.numel())
        return result


@pytest.mark.parametrize("group_size", [1, 7, 1_048_576])
def test_memory_grows_with_what_is_active_and_not_with_the_512_million_trials(group_size: int) -> None:
    spec = SyntheticData(n_features=1_000_000, active_features=8.0, correlation=1e-4, group_size=group_size)
    with _LargestTensor() as largest:
        pairs = active_pairs(spec, 512, torch.Generator().manual_seed(0))
    assert 2_000 < len(pairs) < 40_000
    assert largest.elements < 50_000


def test_successes_rise_and_reach_every_trial_when_the_probability_is_one() -> None:
    generator = torch.Generator().manual_seed(0)
    assert torch.equal(bernoulli_indices(50, 1.0, generator), torch.arange(50))
    some = bernoulli_indices(10_000, 0.3, generator)
    assert (some.diff() > 0).all()
    assert abs(len(some) - 3000) < 300


def test_no_trials_or_no_probability_give_no_success() -> None:
    generator = torch.Generator().manual_seed(0)
    assert len(bernoulli_indices(0, 0.5, generator)) == len(bernoulli_indices(1_000, 0.0, generator)) == 0
