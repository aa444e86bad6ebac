"""Cross-entropy with the reconstruction spliced in: the score's formula, and the scale that reconstructions come back to."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch

from prolu.analysis.cross_entropy import cross_entropy_metrics
from prolu.data.source import SplicedModel
from prolu.models.normalisation import Normaliser
from prolu.models.sae import Sae, build_sae
from prolu.spec.sae import ReluSae

D_IN = 8


@dataclass(frozen=True)
class Losses:
    ce_clean: float
    ce_sae: float
    ce_zero_ablation: float
    kl: float
    tokens: int = 100


class Linear:
    """A stand-in for a language model: the mean squared error takes the place of cross-entropy and divergence."""

    def __init__(self, x: torch.Tensor, clean: float = 2.0, ablation: float | None = None) -> None:
        self.x = x
        self.clean = clean
        self.ablation = clean + x.square().mean().item() if ablation is None else ablation

    def losses(self, reconstruct: Callable[[torch.Tensor], torch.Tensor]) -> Losses:
        error = (self.x - reconstruct(self.x)).square().mean().item()
        return Losses(self.clean, self.clean + error, self.ablation, error)


def _identity() -> Sae:
    """relu(x) - relu(-x) = x."""
    sae = build_sae(ReluSae(d_sae=2 * D_IN, decoder_norm="unit"), D_IN, 0)
    eye = torch.eye(D_IN)
    with torch.no_grad():
        sae.W_enc.copy_(torch.cat([eye, -eye], dim=1))
        sae.W_dec.copy_(torch.cat([eye, -eye]))
    return sae


X = torch.randn(50, D_IN, generator=torch.Generator().manual_seed(0)) * torch.logspace(-2, 3, 50).unsqueeze(1)


@pytest.mark.parametrize(
    "normaliser", [Normaliser("none"), Normaliser("per_token"), Normaliser("dataset_rms", 30.0)], ids=lambda n: n.kind
)
def test_the_identity_scores_one_and_zeros_score_zero(normaliser: Normaliser) -> None:
    spliced = Linear(X)
    assert isinstance(spliced, SplicedModel)
    perfect = cross_entropy_metrics(_identity(), spliced, normaliser)
    assert perfect["ce_loss_score"] == pytest.approx(1)
    assert perfect["ce_sae"] == pytest.approx(perfect["ce_clean"])
    silent = build_sae(ReluSae(d_sae=2 * D_IN), D_IN, 0)
    with torch.no_grad():
        silent.b_enc.fill_(-1e9)
    assert cross_entropy_metrics(silent, spliced, normaliser)["ce_loss_score"] == pytest.approx(0)


def test_the_score_is_the_share_of_the_ablations_loss_that_is_recovered() -> None:
    class Told:
        def losses(self, reconstruct: Callable[[torch.Tensor], torch.Tensor]) -> Losses:
            return Losses(ce_clean=3.0, ce_sae=3.5, ce_zero_ablation=5.0, kl=0.4)

    assert cross_entropy_metrics(_identity(), Told(), Normaliser("none")) == {
        "ce_clean": 3.0,
        "ce_sae": 3.5,
        "ce_zero_ablation": 5.0,
        "kl": 0.4,
        "ce_loss_score": 0.75,
    }


def test_a_score_without_a_value_is_left_out() -> None:
    values = cross_entropy_metrics(_identity(), Linear(X, ablation=2.0), Normaliser("none"))
    assert set(values) == {"ce_clean", "ce_sae", "ce_zero_ablation", "kl"}


def test_rows_come_back_at_their_own_scale() -> None:
    seen: list[torch.Tensor] = []

    class Looking:
        def losses(self, reconstruct: Callable[[torch.Tensor], torch.Tensor]) -> Losses:
            seen.append(reconstruct(X))
            return Losses(1.0, 1.0, 2.0, 0.0)

    cross_entropy_metrics(_identity(), Looking(), Normaliser("per_token"))
    torch.testing.assert_close(seen[0], X, rtol=1e-5, atol=1e-6)
