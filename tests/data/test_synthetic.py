"""Synthetic activations: endless, numbered, and with a dictionary that is known."""

import hashlib
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from prolu.data.synthetic import SyntheticSource
from prolu.spec import SyntheticData


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    forwards = [SyntheticSource(SyntheticData(seed=3)).batch(step, 100) for step in (0, 1, 2)]
    source = SyntheticSource(SyntheticData(seed=3))
    backwards = [source.batch(step, 100) for step in (2, 1, 0)]
    for ahead, back in zip(forwards, reversed(backwards), strict=True):
        assert torch.equal(ahead, back)
    assert not torch.equal(forwards[0], forwards[1])
    assert not torch.equal(forwards[0], SyntheticSource(SyntheticData(seed=4)).batch(0, 100))


def test_the_stream_does_not_depend_on_the_batch_size() -> None:
    source = SyntheticSource(SyntheticData())
    whole = source.batch(0, 1500)
    parts = torch.cat([source.batch(step, 300) for step in range(5)])
    assert torch.equal(whole, parts)


def test_held_out_samples_are_the_same_for_every_batch_size_and_not_those_of_training() -> None:
    source = SyntheticSource(SyntheticData(eval_samples=700))
    coarse = list(source.evaluation(512))
    assert [len(batch) for batch in coarse] == [512, 188]
    assert torch.equal(torch.cat(coarse), torch.cat(list(source.evaluation(64))))
    assert not torch.equal(coarse[0], source.batch(0, 512))


def test_the_dictionary_is_of_unit_vectors_and_makes_up_every_sample() -> None:
    spec = SyntheticData(d_in=16, n_features=4, active_features=4.0, noise_std=0.0)
    source = SyntheticSource(spec)
    torch.testing.assert_close(source.dictionary.norm(dim=1), torch.ones(4))
    # All four features are active, so each sample is a combination of them with magnitudes in [0.5, 1.5].
    x = source.batch(0, 1000)
    magnitudes = torch.linalg.lstsq(source.dictionary.T.double(), x.T.double()).solution
    torch.testing.assert_close(source.dictionary.T.double() @ magnitudes, x.T.double(), atol=1e-6, rtol=0)
    assert magnitudes.min() >= 0.5 - 1e-6
    assert magnitudes.max() <= 1.5 + 1e-6
    assert abs(magnitudes.mean() - 1) < 0.02


def test_the_noise_has_the_standard_deviation_that_was_asked_for() -> None:
    source = SyntheticSource(SyntheticData(d_in=8, n_features=1, active_features=1e-9, noise_std=0.25))
    assert abs(source.batch(0, 20_000).std() - 0.25) < 0.005


def test_each_feature_is_active_with_its_probability() -> None:
    spec = SyntheticData(d_in=64, n_features=64, active_features=8.0, noise_std=0.0)
    source = SyntheticSource(spec)
    x = source.batch(0, 20_000).double()
    active = torch.linalg.solve(source.dictionary.T.double(), x.T).T.abs() > 0.25
    rates = active.double().mean(dim=0)
    assert abs(rates.mean() - 8 / 64) < 0.002
    assert (rates - 8 / 64).abs().max() < 0.015


LAWS: dict[str, Callable[[Tensor], Tensor]] = {
    "uniform": lambda x: (x - 0.5).clamp(0, 1),
    "exponential": lambda x: 1 - torch.exp(-x.clamp(min=0)),
    "lognormal": lambda x: torch.special.ndtr((torch.log(x) + 0.125) / 0.5),
}


@pytest.mark.parametrize("law", LAWS)
def test_magnitudes_follow_their_law_whose_mean_is_one(law: str) -> None:
    spec = SyntheticData(d_in=2, n_features=1, active_features=1.0, noise_std=0.0, magnitudes=law)  # type: ignore[arg-type]
    source = SyntheticSource(spec)
    drawn = (source.batch(0, 20_000).double() @ source.dictionary[0].double()).sort().values
    assert abs(drawn.mean() - 1) < 0.03
    # Kolmogorov and Smirnov: above 1.95 / sqrt(n) once in a thousand seeds, and the seed is fixed.
    empirical = torch.arange(1, 20_001, dtype=torch.float64) / 20_000
    assert (empirical - LAWS[law](drawn)).abs().max() < 1.95 / 20_000**0.5


def test_constant_magnitudes_are_one() -> None:
    spec = SyntheticData(d_in=4, n_features=1, active_features=1.0, noise_std=0.0, magnitudes="constant")
    source = SyntheticSource(spec)
    torch.testing.assert_close(source.batch(0, 10), source.dictionary.expand(10, 4))


def test_correlated_streams_are_seekable_too() -> None:
    spec = SyntheticData(correlation=0.6, magnitudes="lognormal")
    whole = SyntheticSource(spec).batch(0, 1_300)
    assert torch.equal(SyntheticSource(spec).batch(4, 260), whole[1_040:])


def test_independent_uniform_samples_keep_the_bits_that_runs_were_trained_on() -> None:
    """A block written out as plainly as can be: the order of the draws, and with it every bit, is a promise."""
    spec = SyntheticData(seed=11)

    def generator(stream: str, number: int) -> torch.Generator:
        name = f"prolu.data.synthetic 11 {stream} {number}".encode()
        digest = hashlib.blake2b(name, digest_size=8).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)

    dictionary = torch.randn((256, 64), generator=generator("dictionary", 0))
    dictionary = dictionary / torch.linalg.vector_norm(dictionary, dim=1, keepdim=True)
    draws = generator("train", 1)
    trials, p = 512 * 256, 8 / 256
    chunk = int(trials * p + 6 * (trials * p) ** 0.5 + 16)
    uniform = torch.rand(chunk, generator=draws, dtype=torch.float64)
    gaps = 1 + torch.floor(torch.log1p(-uniform) / math.log1p(-p)).long()
    active = gaps.cumsum(0) - 1
    assert active[-1] >= trials  # one chunk was enough, as nearly always
    active = active[active < trials]
    magnitudes = 0.5 + torch.rand(len(active), generator=draws)
    expected = torch.nn.functional.embedding_bag(
        active % 256,
        dictionary,
        offsets=torch.searchsorted(active // 256, torch.arange(512)),
        per_sample_weights=magnitudes,
        mode="sum",
    )
    expected = expected + 0.01 * torch.randn(expected.shape, generator=draws)
    assert torch.equal(SyntheticSource(spec).batch(1, 512), expected)


def test_samples_can_be_normalised() -> None:
    x = SyntheticSource(SyntheticData(normalisation="per_token")).batch(0, 64)
    torch.testing.assert_close(x.norm(dim=1), torch.full((64,), 8.0))
