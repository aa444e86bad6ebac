"""TopK kinds by hand: who wins, whom AuxK revives, and what threshold inference takes from training."""

import math

import pytest
import torch
from torch import Tensor

from prolu.data.synthetic import SyntheticSource
from prolu.models.objective import Terms, objective
from prolu.models.sae import Sae, build_sae, sae_of
from prolu.models.topk import BatchTopK, default_aux_k
from prolu.spec.data import SyntheticData
from prolu.spec.sae import BatchTopKSae, MatryoshkaBatchTopKSae, TopKSae
from prolu.spec.sparsity import NoPenalty

X = torch.tensor([[3.0, 1.0, 2.0], [0.5, 4.0, -1.0]])


def identity(spec: TopKSae | BatchTopKSae) -> Sae:
    """An autoencoder whose latents are the inputs: m = x, x_hat = acts + b_dec."""
    sae = sae_of(spec, 3)
    with torch.no_grad():
        sae.W_enc.copy_(torch.eye(3))
        sae.W_dec.copy_(torch.eye(3))
    return sae


def train_pass(sae: Sae, x: Tensor, dead: list[bool] | None = None) -> Terms:
    return objective(sae, x, sparsity=NoPenalty(), over="sum", dead=None if dead is None else torch.tensor(dead))


def test_the_k_largest_of_each_token_fire() -> None:
    sae = identity(TopKSae(d_sae=3, k=2))
    assert sae.encode(X).tolist() == [[3, 0, 2], [0.5, 4, 0]]


def test_a_latent_that_wins_without_being_positive_stays_silent() -> None:
    sae = identity(TopKSae(d_sae=3, k=2))
    assert sae.encode(torch.tensor([[5.0, -1.0, -2.0]])).tolist() == [[5, 0, 0]]


def test_of_equal_latents_no_more_than_k_fire_and_always_the_same() -> None:
    sae = identity(TopKSae(d_sae=3, k=2))
    first = sae.encode(torch.ones(4, 3))
    assert (first > 0).sum(dim=1).tolist() == [2, 2, 2, 2]
    assert torch.equal(sae.encode(torch.ones(4, 3)), first)


def test_the_k_times_batch_largest_of_a_batch_fire_in_training() -> None:
    sae = identity(BatchTopKSae(d_sae=3, k=2))
    assert train_pass(sae, X).acts.tolist() == [[3, 1, 2], [0, 4, 0]]


def test_inference_takes_what_is_above_the_threshold_whatever_the_batch() -> None:
    sae = identity(BatchTopKSae(d_sae=3, k=2))
    sae.threshold.fill_(1.0)  # type: ignore[operator]
    assert sae.encode(X).tolist() == [[3, 0, 2], [0, 4, 0]]


def test_before_any_training_every_positive_latent_fires_at_inference() -> None:
    assert identity(BatchTopKSae(d_sae=3, k=2)).encode(X).tolist() == [[3, 1, 2], [0.5, 4, 0]]


def test_the_threshold_starts_with_the_first_batch_and_becomes_a_moving_average() -> None:
    sae = identity(BatchTopKSae(d_sae=3, k=1, threshold_decay=0.2))
    assert isinstance(sae, BatchTopK)
    thresholds = []
    for smallest in [2.0, 13.0, 24.0, 12.0, 4.0]:
        sae.after_step(torch.tensor([[0.0, smallest, 100.0], [101.0, 0.0, 0.0]]))
        thresholds.append(sae.threshold.item())
    # weights 10/10, 10/11, 10/12, and from there 1 - 0.2, for 10/13 is less: 2 + 11 * 10/11, 12 + 12 * 10/12, 22 - 10 * 0.8, ...
    assert thresholds == pytest.approx([2, 12, 22, 14, 6])
    assert sae.threshold_batches.item() == 5


@pytest.mark.parametrize("kind", [BatchTopKSae, MatryoshkaBatchTopKSae])
def test_after_a_short_training_on_a_drifting_scale_about_k_latents_fire_at_inference(
    kind: type[BatchTopKSae] | type[MatryoshkaBatchTopKSae],
) -> None:
    data = SyntheticSource(SyntheticData(d_in=32, n_features=96, active_features=6.0, eval_samples=1_000))
    nested = {"prefixes": [24, 96]} if kind is MatryoshkaBatchTopKSae else {}
    sae = build_sae(kind.model_validate({"d_sae": 96, "k": 8, **nested}), 32, seed=0)
    optimizer = torch.optim.Adam(sae.parameters(), lr=3e-3)
    for step in range(300):
        x = data.batch(step, 64) * (1 + 2 * math.exp(-step / 60))  # from three times the scale of the end
        terms = train_pass(sae, x)
        optimizer.zero_grad()
        (terms.reconstruction / len(x)).backward()
        optimizer.step()
        sae.after_step(terms.acts)
    firing = (sae.encode(next(data.evaluation(1_000))) > 0).sum(dim=1)
    assert firing.double().mean().item() == pytest.approx(8, rel=0.1)


def test_a_batch_in_which_nothing_fires_leaves_the_threshold() -> None:
    sae = identity(BatchTopKSae(d_sae=3, k=1))
    assert isinstance(sae, BatchTopK)
    for acts in [torch.zeros(2, 3), torch.full((2, 3), 2.5), torch.zeros(2, 3), torch.full((2, 3), float("nan"))]:
        sae.after_step(acts)
    assert (sae.threshold.item(), sae.threshold_batches.item()) == (2.5, 1)


def test_auxk_models_the_error_by_the_largest_dead_latents_without_b_dec() -> None:
    sae = identity(TopKSae(d_sae=3, k=1, aux_k=1, aux_coefficient=0.5))
    with torch.no_grad():
        sae.b_dec.copy_(torch.tensor([0.0, 0.0, -1.0]))
    terms = train_pass(sae, torch.tensor([[5.0, 2.0, 1.0]]), dead=[False, True, True])
    # m = (5, 2, 2), x_hat = (5, 0, -1), e = (0, 2, 2); one of the dead, both at 2, models its own half of e
    assert terms.x_hat.tolist() == [[5, 0, -1]]
    assert terms.reconstruction.item() == 8
    assert terms.auxiliary.item() == 0.5 * 4


def test_fewer_dead_latents_than_aux_k_are_all_used_and_the_living_never() -> None:
    sae = identity(TopKSae(d_sae=3, k=1, aux_k=3, aux_coefficient=0.5))
    terms = train_pass(sae, torch.tensor([[5.0, 2.0, 1.0]]), dead=[True, False, True])
    # x_hat = (5, 0, 0), e = (0, 2, 1), e_hat = (5, 0, 1)
    assert terms.auxiliary.item() == 0.5 * (25 + 4)


def test_the_target_of_auxk_carries_no_gradient() -> None:
    sae = identity(TopKSae(d_sae=3, k=1, aux_k=1))
    with torch.no_grad():
        sae.W_dec[1] /= 2
    x = torch.tensor([[5.0, 2.0, 1.0]])
    train_pass(sae, x, dead=[False, True, False]).auxiliary.backward()
    # latent 0 made the error and latent 2 is alive: neither learns from AuxK
    assert sae.W_dec.grad is not None
    assert sae.W_enc.grad is not None
    assert sae.W_dec.grad.any(dim=1).tolist() == [False, True, False]
    assert sae.W_enc.grad.any(dim=0).tolist() == [False, True, False]


@pytest.mark.parametrize("dead", [[False] * 3, [True] * 3])
def test_auxk_is_finite_with_nobody_and_with_everybody_dead(dead: list[bool]) -> None:
    sae = identity(TopKSae(d_sae=3, k=1))
    terms = train_pass(sae, -X, dead=dead)
    terms.auxiliary.backward()
    assert torch.isfinite(terms.auxiliary)
    assert (terms.auxiliary == 0) == (not any(dead))
    assert all(parameter.grad is None or torch.isfinite(parameter.grad).all() for parameter in sae.parameters())


@pytest.mark.parametrize(
    ("d_in", "expected"), [(768, 512), (576, 256), (2048, 1024), (767, 256), (4, 2), (3, 2), (2, 1), (1, 1)]
)
def test_aux_k_is_by_default_the_power_of_two_nearest_to_half_of_d_in(d_in: int, expected: int) -> None:
    assert default_aux_k(d_in, 10_000) == expected


def test_aux_k_is_by_default_at_most_d_sae() -> None:
    assert default_aux_k(768, 100) == 100


def test_free_decoder_norms_of_topk_are_not_folded() -> None:
    with pytest.raises(ValueError, match="would change which latents win"):
        sae_of(TopKSae(d_sae=3, k=2, decoder_norm="free"), 3).fold_decoder_norm()


def test_a_unit_decoder_of_topk_is_folded_already() -> None:
    sae = identity(TopKSae(d_sae=3, k=2))
    sae.fold_decoder_norm()
    assert torch.equal(sae.W_dec, torch.eye(3))
