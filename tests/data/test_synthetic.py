"""Synthetic activations: endless, numbered, and with a dictionary that is known."""

import torch

from prolu.data.synthetic import SyntheticSource, _bernoulli_indices
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


def test_successes_rise_and_reach_every_trial_when_the_probability_is_one() -> None:
    generator = torch.Generator().manual_seed(0)
    assert torch.equal(_bernoulli_indices(50, 1.0, generator), torch.arange(50))
    some = _bernoulli_indices(10_000, 0.3, generator)
    assert (some.diff() > 0).all()
    assert abs(len(some) - 3000) < 300


def test_samples_can_be_normalised() -> None:
    x = SyntheticSource(SyntheticData(normalisation="per_token")).batch(0, 64)
    torch.testing.assert_close(x.norm(dim=1), torch.full((64,), 8.0))
