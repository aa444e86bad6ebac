"""Recovery of a known dictionary: the mean of the best cosines, and the share of them above 0.9."""

import pytest
import torch

from prolu.analysis import recovery
from prolu.analysis.recovery import recovery_metrics

TURNED = torch.tensor([[0.6, 0.8], [-1.0, 0.0], [0.0, 0.0]])


def test_a_case_worked_by_hand() -> None:
    # The feature (1, 0) has the cosines 0.6, -1 and 0 with the rows, the feature (0, 1) has 0.8, 0 and 0.
    assert recovery_metrics(TURNED, torch.eye(2)) == pytest.approx({"mmcs": 0.7, "recovered_fraction": 0.0})
    # With a row at cosine 0.9535 to the first feature, that one is recovered.
    nearer = torch.cat([TURNED, torch.tensor([[3.17, 1.0]])])
    found = recovery_metrics(nearer, torch.eye(2))
    assert found == pytest.approx({"mmcs": (3.17 / (3.17**2 + 1) ** 0.5 + 0.8) / 2, "recovered_fraction": 0.5})


def test_the_dictionary_itself_is_recovered_whole_whatever_the_norms_and_order() -> None:
    generator = torch.Generator().manual_seed(0)
    dictionary = torch.randn(20, 8, generator=generator)
    decoder = torch.cat([torch.randn(5, 8, generator=generator), dictionary.flip(0) * 7.5])
    assert recovery_metrics(decoder, dictionary) == pytest.approx({"mmcs": 1.0, "recovered_fraction": 1.0})


def test_a_decoder_of_zeros_recovers_nothing_and_is_no_nan() -> None:
    assert recovery_metrics(torch.zeros(4, 3), torch.eye(3)) == {"mmcs": 0.0, "recovered_fraction": 0.0}


def test_a_row_that_points_away_is_no_recovery() -> None:
    assert recovery_metrics(-torch.eye(3)[:1], torch.eye(3)[:1]) == {"mmcs": -1.0, "recovered_fraction": 0.0}


def test_chunks_do_not_change_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    decoder, dictionary = torch.randn(30, 8, generator=generator), torch.randn(17, 8, generator=generator)
    whole = recovery_metrics(decoder, dictionary)
    naive = torch.nn.functional.cosine_similarity(dictionary[:, None], decoder[None], dim=2).amax(dim=1)
    assert whole["mmcs"] == pytest.approx(naive.mean().item())
    for most in (1, 90, 100):
        monkeypatch.setattr(recovery, "_MOST_COSINES", most)
        assert recovery_metrics(decoder, dictionary) == pytest.approx(whole)
