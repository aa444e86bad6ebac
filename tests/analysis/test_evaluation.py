"""Evaluation runs over the whole held-out set, whatever the batch size."""

import pytest
import torch

from prolu.analysis import evaluate
from prolu.analysis.metrics import MetricSums
from prolu.data.synthetic import SyntheticSource
from prolu.models import build_sae
from prolu.spec.data import SyntheticData
from prolu.spec.sae import ProluSae

SOURCE = SyntheticSource(SyntheticData(d_in=16, n_features=32, eval_samples=1_000))


def test_evaluation_covers_every_held_out_activation() -> None:
    sae = build_sae(ProluSae(d_sae=40), 16, seed=0)
    x = torch.cat(list(SOURCE.evaluation(1_000)))
    sums = MetricSums(16)
    with torch.no_grad():
        sums.add(x, sae(x), sae.encode(x))
    assert evaluate(sae, SOURCE, batch_size=300) == pytest.approx(sums.values(), rel=1e-6)


def test_evaluation_leaves_the_autoencoder_as_it_was() -> None:
    sae = build_sae(ProluSae(d_sae=40), 16, seed=0)
    before = {name: tensor.clone() for name, tensor in sae.state_dict().items()}
    evaluate(sae, SOURCE)
    assert all(torch.equal(before[name], tensor) for name, tensor in sae.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in sae.parameters())
