"""How often latents fire on held-out data, and the scale that all runs are counted on."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from prolu.analysis.density import density_histogram, firing_frequencies
from prolu.data.synthetic import SyntheticSource
from prolu.models import build_sae
from prolu.spec.data import SyntheticData
from prolu.spec.sae import ProluSae

SOURCE = SyntheticSource(SyntheticData(d_in=16, n_features=32, eval_samples=1_000))


def test_frequencies_are_the_share_of_held_out_tokens_on_which_each_latent_fires() -> None:
    sae = build_sae(ProluSae(d_sae=40), 16, seed=0)
    x = torch.cat(list(SOURCE.evaluation(1_000)))
    with torch.no_grad():
        expected = (sae.encode(x) > 0).double().mean(dim=0)
    assert torch.equal(firing_frequencies(sae, SOURCE, batch_size=300), expected)


def test_latents_that_never_or_hardly_ever_fire_are_in_the_first_bin_and_constant_ones_in_the_last() -> None:
    histogram = density_histogram(torch.tensor([0.0, 1e-12, 1e-8, 1.0, 0.6]))
    assert (histogram.counts[0], histogram.counts[-1]) == (3, 2)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_histograms_of_any_two_runs_can_be_added(one: list[float], other: list[float]) -> None:
    first, second = density_histogram(torch.tensor(one)), density_histogram(torch.tensor(other))
    both = density_histogram(torch.tensor(one + other))
    assert first.edges == second.edges == both.edges
    assert [a + b for a, b in zip(first.counts, second.counts, strict=True)] == both.counts
    assert sum(first.counts) == len(one)
