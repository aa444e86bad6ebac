"""Evaluation runs over the whole held-out set, whatever the batch size, and asks of the source what it can answer."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from prolu.analysis import evaluate
from prolu.analysis.metrics import MetricSums
from prolu.data.synthetic import SyntheticSource
from prolu.models import build_sae
from prolu.models.normalisation import Normaliser
from prolu.models.sae import Sae
from prolu.spec.data import SyntheticData
from prolu.spec.sae import ProluSae, ReluSae

SOURCE = SyntheticSource(SyntheticData(d_in=16, n_features=32, eval_samples=1_000))
RAW = torch.cat(list(SOURCE.evaluation(1_000))) * torch.linspace(0.5, 20, 1_000).unsqueeze(1)


@dataclass(frozen=True)
class Losses:
    ce_clean: float
    ce_sae: float
    ce_zero_ablation: float
    kl: float
    tokens: int = 1_000


class LinearModel:
    """A stand-in for a language model: its cross-entropy is 2 plus the mean squared error of what is spliced in."""

    def losses(self, reconstruct: Callable[[Tensor], Tensor]) -> Losses:
        cost = [(RAW - value).square().sum(1).mean().item() for value in (reconstruct(RAW), torch.zeros_like(RAW))]
        return Losses(2.0, 2.0 + cost[0], 2.0 + cost[1], kl=cost[0])


class Source:
    """Raw activations of very different lengths, normalised per token, with a language model and no dictionary."""

    d_in = 16
    dictionary = None
    identity = "given"
    normaliser = Normaliser("per_token")
    spliced = LinearModel()

    def batch(self, step: int, batch_size: int) -> Tensor:
        return self.normaliser.normalise(RAW[step * batch_size : (step + 1) * batch_size])

    def evaluation(self, batch_size: int) -> Iterator[Tensor]:
        yield from self.normaliser.normalise(RAW).split(batch_size)


def identity() -> Sae:
    """An autoencoder whose reconstruction is exact: a latent for each direction and its opposite."""
    sae = build_sae(ReluSae(d_sae=32), 16, seed=0)
    rows = torch.cat([torch.eye(16), -torch.eye(16)])
    sae.load_state_dict(
        sae.state_dict() | {"W_dec": rows, "W_enc": rows.T.contiguous(), "b_dec": torch.linspace(-1, 1, 16)}
    )
    return sae


def test_evaluation_covers_every_held_out_activation() -> None:
    sae = build_sae(ProluSae(d_sae=40), 16, seed=0)
    x = torch.cat(list(SOURCE.evaluation(1_000)))
    sums = MetricSums(16)
    with torch.no_grad():
        sums.add(x, sae(x), sae.encode(x))
    values = evaluate(sae, SOURCE, batch_size=300)
    assert {name: values[name] for name in sums.values()} == pytest.approx(sums.values(), rel=1e-6)


def test_the_identity_has_the_best_value_of_every_metric() -> None:
    values = evaluate(identity(), Source())
    for name in ("mse", "fvu"):
        assert values[name] == pytest.approx(0, abs=1e-10), name
    for name in ("cosine", "shrinkage", "ce_loss_score"):
        assert values[name] == pytest.approx(1, abs=1e-6), name
    assert values["ce_sae"] == pytest.approx(values["ce_clean"], abs=1e-6)
    assert values["l0"] == 16


def test_the_language_model_gets_reconstructions_in_its_own_scale() -> None:
    sae = build_sae(ProluSae(d_sae=40), 16, seed=0)
    biases = torch.full((40,), -0.5)  # without any, scales would not matter
    sae.load_state_dict(sae.state_dict() | {"b_enc": biases})
    scales = RAW.norm(dim=1, keepdim=True) / 4
    with torch.no_grad():
        error = (RAW - scales * sae(RAW / scales)).square().sum(1).mean().item()
    assert evaluate(sae, Source(), batch_size=300)["ce_sae"] == pytest.approx(2 + error, rel=1e-5)


def test_recovery_is_measured_where_the_dictionary_is_known() -> None:
    sae = build_sae(ProluSae(d_sae=32), 16, seed=0)
    assert evaluate(sae, SOURCE)["recovered_fraction"] < 1
    sae.load_state_dict(sae.state_dict() | {"W_dec": SOURCE.dictionary})
    values = evaluate(sae, SOURCE)
    assert values["mmcs"] == pytest.approx(1, abs=1e-6)
    assert values["recovered_fraction"] == 1


def test_a_source_is_asked_only_what_it_knows() -> None:
    sae = build_sae(ProluSae(d_sae=40), 16, seed=0)
    always = {"l0", "l1", "mse", "fvu", "cosine", "shrinkage"}
    assert set(evaluate(sae, SOURCE)) == always | {"mmcs", "recovered_fraction"}
    cross_entropy = {"ce_clean", "ce_sae", "ce_zero_ablation", "ce_loss_score", "kl"}
    assert set(evaluate(sae, Source())) == always | cross_entropy


def test_evaluation_leaves_the_autoencoder_as_it_was() -> None:
    sae = build_sae(ProluSae(d_sae=40), 16, seed=0)
    before = {name: tensor.clone() for name, tensor in sae.state_dict().items()}
    evaluate(sae, SOURCE)
    assert all(torch.equal(before[name], tensor) for name, tensor in sae.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in sae.parameters())
