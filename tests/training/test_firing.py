"""Counters of firing and the memory of biases."""

import pytest
import torch

from prolu.training.firing import Firing, tokens_fired_on
from prolu.training.snapshots import BiasMemory

CPU = torch.device("cpu")


BATCH = 8


def fired(*shares: float) -> torch.Tensor:
    """On how many tokens each latent fired, in a batch in which it fires on a share of them."""
    return tokens_fired_on(torch.stack([(torch.arange(BATCH) < share * BATCH) * 0.7 for share in shares], dim=1))


def test_the_frequency_is_the_mean_of_all_batches_until_the_window_is_full_and_then_a_moving_average() -> None:
    firing = Firing(2, dead_window_tokens=32, device=CPU)  # four batches
    shares = [0.5, 0.0, 1.0, 0.25, 0.75, 0.0]
    expected = 0.0
    for step, share in enumerate(shares):
        l0 = firing.count(fired(share, 1.0), BATCH, step)
        assert l0 == share + 1
        expected += (share - expected) * max(1 / (step + 1), 8 / 32)
        assert firing.frequency.tolist() == pytest.approx([expected, 1.0])
        if step < 4:
            assert expected == pytest.approx(sum(shares[: step + 1]) / (step + 1))


def test_a_batch_larger_than_the_window_is_the_frequency() -> None:
    firing = Firing(1, dead_window_tokens=5, device=CPU)
    for step, share in enumerate([0.5, 0.25, 1.0]):
        firing.count(fired(share), BATCH, step)
        assert firing.frequency.item() == share


def test_a_latent_is_dead_once_it_was_silent_for_the_window() -> None:
    firing = Firing(2, dead_window_tokens=16, device=CPU)
    for step, share in enumerate([0.1, 0.0, 0.0, 0.2]):
        firing.count(fired(0.0, share), BATCH, step)
        assert firing.tokens_since_fired.tolist() == [8 * (step + 1), [0, 8, 16, 0][step]]
        assert firing.dead.tolist() == [step >= 1, step == 2]


def test_the_memory_answers_with_the_newest_snapshot_before_a_step() -> None:
    memory = BiasMemory(2, CPU)
    assert memory.before(10) is None
    for step in (0, 4, 8):
        memory.remember(torch.full((2,), float(step)), step)
    found = {step: memory.before(step) for step in (9, 8, 4)}
    assert found[4] is None  # forgotten
    for step, taken in [(9, 8), (8, 4)]:
        snapshot = found[step]
        assert snapshot is not None
        assert snapshot[0] == taken
        assert snapshot[1].tolist() == [taken, taken]
    assert memory.tensors()["snapshot_step"].tolist() == [8, 4]
    assert memory.tensors()["snapshot_b"][:, 0].tolist() == [8, 4]
