"""Resampling: who is revived, from which inputs, with which weights, and what is left alone."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from prolu.data.synthetic import SyntheticSource
from prolu.models import Sae, build_sae
from prolu.spec.run import RunSpec
from prolu.spec.sae import BatchTopKSae, GatedSae, JumpReluSae, ProluSae, SaeSpec, TopKSae
from prolu.spec.training import ResamplingSpec
from prolu.training import Learner, NonFiniteError
from prolu.training.resampling import resample

SpecMaker = Callable[..., RunSpec]
SPEC = ResamplingSpec(every_steps=10, encoder_scale=0.5)
UNFIRED = torch.tensor([False, True, False, False, True, True])
KINDS: list[SaeSpec] = [
    ProluSae(d_sae=6),
    ProluSae(d_sae=6, decoder_norm="free", decoder_init_norm=0.3),
    JumpReluSae(d_sae=6, initial_threshold=0.25),
    GatedSae(d_sae=6),
    TopKSae(d_sae=6, k=2),
    BatchTopKSae(d_sae=6, k=2),
]


def trained(spec: SaeSpec) -> Sae:
    """An autoencoder of width 4 with all of its parameters away from their start."""
    sae = build_sae(spec, 4, seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in sae.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.1)
    return sae


def inputs(count: int = 50) -> Tensor:
    return torch.randn(count, 4, generator=torch.Generator().manual_seed(2))


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("spec", KINDS, ids=lambda spec: f"{spec.kind} {spec.decoder_norm}")
def test_a_resampled_latent_points_at_an_input_and_begins_as_at_the_start(spec: SaeSpec) -> None:
    sae, x = trained(spec), inputs()
    before = {name: tensor.clone() for name, tensor in sae.state_dict().items()}
    latents = resample(sae, UNFIRED, x, SPEC, generator=chance(), batch_size=7)
    assert latents.tolist() == [1, 4, 5]

    after = sae.state_dict()
    directions = x - before["b_dec"]
    directions = directions / directions.norm(dim=1, keepdim=True)
    living_norm = before["W_enc"].norm(dim=0)[~UNFIRED].mean()
    for latent in latents:
        row = after["W_dec"][latent] / spec.decoder_init_norm
        assert (directions - row).norm(dim=1).min() < 1e-6
        torch.testing.assert_close(after["W_enc"][:, latent], 0.5 * living_norm * row)
    for name in before.keys() - {"W_enc", "W_dec", "b_dec", "threshold_batches"}:
        if after[name].shape == (6,):
            start = 0.25 if name == "threshold" else 0.0
            assert after[name][UNFIRED].tolist() == [start] * 3, name


@pytest.mark.parametrize("spec", KINDS, ids=lambda spec: f"{spec.kind} {spec.decoder_norm}")
def test_nothing_else_changes(spec: SaeSpec) -> None:
    sae = trained(spec)
    before = {name: tensor.clone() for name, tensor in sae.state_dict().items()}
    resample(sae, UNFIRED, inputs(), SPEC, generator=chance(), batch_size=7)
    for name, tensor in sae.state_dict().items():
        if name == "W_enc":
            assert torch.equal(tensor[:, ~UNFIRED], before[name][:, ~UNFIRED])
        elif tensor.ndim and name != "b_dec":
            assert torch.equal(tensor[~UNFIRED], before[name][~UNFIRED])
        else:
            assert torch.equal(tensor, before[name]), name


def silent(d_sae: int) -> Sae:
    """An autoencoder of width 3 whose x_hat is always 0, so that the loss of x is ||x||^2."""
    sae = build_sae(ProluSae(d_sae=d_sae), 3, seed=0)
    with torch.no_grad():
        sae.W_enc.zero_()
    return sae


ALL_OF_THREE = torch.ones(3, dtype=torch.bool)


def test_inputs_are_drawn_with_probability_proportional_to_the_square_of_their_loss() -> None:
    sae, draws = silent(1), 1_000
    x = torch.diag(torch.tensor([1.0, 2**0.5, 2.0]))  # losses 1, 2, 4: probabilities 1, 4, 16 of 21
    shares = torch.zeros(3)
    for seed in range(draws):
        resample(sae, ALL_OF_THREE[:1], x, SPEC, generator=chance(seed), batch_size=3)
        shares += (sae.W_dec.detach()[0] > 0.5) / draws
        with torch.no_grad():
            sae.W_enc.zero_()
    torch.testing.assert_close(shares, torch.tensor([1.0, 4.0, 16.0]) / 21, atol=0.05, rtol=0)


def test_no_two_latents_begin_alike() -> None:
    for seed in range(20):
        sae = silent(3)
        x = torch.diag(torch.tensor([1.0, 2.0, 30.0]))  # nearly all of the weight is on one of them
        assert len(resample(sae, ALL_OF_THREE, x, SPEC, generator=chance(seed), batch_size=3)) == 3
        assert len(sae.W_dec.detach().unique(dim=0)) == 3


@pytest.mark.parametrize(
    "x",
    [
        torch.tensor([[0.0, 0.0, 3.0], [0.0, 0.0, 0.0], [2.0, 0.0, 0.0]]),  # the second has no direction
        torch.tensor([[0.0, 0.0, 3.0], [2.0, 0.0, 0.0], [2.0, 0.0, 0.0]]),  # the last two have the same
    ],
)
def test_latents_for_whom_there_is_no_direction_left_wait_for_a_later_resample(x: Tensor) -> None:
    sae = silent(3)
    before = {name: tensor.clone() for name, tensor in sae.state_dict().items()}
    assert resample(sae, ALL_OF_THREE, x, SPEC, generator=chance(), batch_size=3).tolist() == [0, 1]
    assert sorted(sae.W_dec.detach()[:2].tolist()) == [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    assert torch.equal(sae.W_dec[2], before["W_dec"][2])
    assert torch.equal(sae.W_enc[:, 2], before["W_enc"][:, 2])


def test_chance_is_the_generators_alone() -> None:
    results = []
    for seed in (3, 3, 4):
        sae = trained(ProluSae(d_sae=6))
        resample(sae, UNFIRED, inputs(), SPEC, generator=chance(seed), batch_size=50)
        results.append(sae.W_dec.detach())
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_where_nothing_lives_columns_are_measured_by_all() -> None:
    sae = trained(ProluSae(d_sae=6))
    norm = sae.W_enc.detach().norm(dim=0).mean()
    resample(sae, torch.ones(6, dtype=torch.bool), inputs(), SPEC, generator=chance(), batch_size=50)
    torch.testing.assert_close(sae.W_enc.detach().norm(dim=0), (0.5 * norm).expand(6))


@pytest.mark.parametrize(
    ("unfired", "x"),
    [
        (torch.zeros(6, dtype=torch.bool), inputs()),
        (UNFIRED, torch.full((5, 4), 0.5)),  # all of them at b_dec: no direction
    ],
)
def test_without_dead_latents_or_directions_nothing_is_done(unfired: Tensor, x: Tensor) -> None:
    sae = trained(ProluSae(d_sae=6))
    with torch.no_grad():
        sae.b_dec.fill_(0.5)
    before = {name: tensor.clone() for name, tensor in sae.state_dict().items()}
    assert len(resample(sae, unfired, x, SPEC, generator=chance(), batch_size=50)) == 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in sae.state_dict().items())


def resampling_learner(make_spec: SpecMaker, source: SyntheticSource, **training: Any) -> Learner:
    spec = make_spec(training={"resampling": {"every_steps": 4, "samples": 64, "lr_warmup_steps": 4}, **training})
    learner = Learner(spec, source.d_in)
    with torch.no_grad():
        learner.sae.W_enc[:, :3] = 0  # these latents cannot fire
    return learner


def test_the_latents_that_did_not_fire_since_the_last_resample_are_revived_and_their_moments_forgotten(
    make_spec: SpecMaker, source: SyntheticSource
) -> None:
    learner = resampling_learner(make_spec, source)
    for step in range(4):
        assert learner.resampler.samples_due(step) == 0
        learner.step(source.batch(step, 32))
    assert learner.resampler.samples_due(4) == 64
    learner.firing.tokens_since_fired[5:8] = 4 * 32  # these did fire, and have moments
    silent = learner.firing.tokens_since_fired >= 4 * 32
    assert silent[[0, 1, 2, 5, 6, 7]].all()
    assert learner.checkpoint().training["optimizer.exp_avg.W_enc"][:, silent].any()
    learner.resample(source.batch(4, 64))
    moments = learner.checkpoint().training
    assert not moments["optimizer.exp_avg.W_enc"][:, silent].any()
    assert moments["optimizer.exp_avg.W_dec"][~silent].any()
    result = learner.step(source.batch(4, 32))
    assert (result.acts > 0).any(dim=0)[:3].all()
    assert learner.resampler.count(5) == silent.sum()


def test_a_resample_is_counted_in_the_next_point_of_metrics_and_in_no_other(
    make_spec: SpecMaker, source: SyntheticSource
) -> None:
    learner = resampling_learner(make_spec, source, metrics_every_steps=10)
    counts = {}
    for step in range(21):
        if learner.resampler.samples_due(step):
            with torch.no_grad():
                learner.sae.W_enc[:, :3] = 0
                learner.firing.tokens_since_fired[:] = torch.arange(40) < 3
                learner.firing.tokens_since_fired.mul_(10_000)
            learner.resample(source.batch(step, 64))
        learner.step(source.batch(step, 32))
        counts[step + 1] = learner.resampler.count(step + 1)
    assert [counts[step] for step in (1, 4, 5, 8, 10)] == [None, None, 3, 3, 6]  # at steps 4 and 8
    assert [counts[step] for step in (11, 12, 13, 20)] == [None, None, 3, 6]  # at steps 12 and 16
    assert counts[21] == 3  # at step 20, after its point


def test_what_is_not_finite_is_not_resampled(make_spec: SpecMaker, source: SyntheticSource) -> None:
    learner = resampling_learner(make_spec, source)
    learner.step(torch.full((32, 16), float("nan")))
    with pytest.raises(NonFiniteError):
        learner.resample(source.batch(1, 64))
