"""Learning rate and coefficient at every step of a short run."""

import pytest

from prolu.spec.sparsity import L1
from prolu.spec.training import AdamSpec, TrainingSpec
from prolu.training.schedules import learning_rate, penalty_coefficient


def rates(*, steps: int, warmup: int = 0, decay: int = 0) -> list[float]:
    training = TrainingSpec(
        steps=steps, lr_warmup_steps=warmup, lr_decay_steps=decay, optimizer=AdamSpec(learning_rate=12.0)
    )
    return [learning_rate(step, training) for step in range(steps)]


def test_the_rate_rises_to_its_peak_holds_and_falls() -> None:
    assert rates(steps=10, warmup=3, decay=4) == pytest.approx([4, 8, 12, 12, 12, 12, 12, 9, 6, 3])


def test_without_ramps_the_rate_is_constant() -> None:
    assert rates(steps=3) == [12, 12, 12]


def test_a_run_may_be_all_ramp() -> None:
    assert rates(steps=5, warmup=2, decay=3) == pytest.approx([6, 12, 12, 8, 4])


def test_no_step_is_spent_at_rate_zero() -> None:
    assert min(rates(steps=7, warmup=7)) > 0
    assert min(rates(steps=7, decay=7)) > 0


def test_the_coefficient_rises_linearly_and_holds() -> None:
    sparsity = L1(coefficient=8.0, warmup_steps=4)
    assert [penalty_coefficient(step, sparsity) for step in range(6)] == [2, 4, 6, 8, 8, 8]
    assert penalty_coefficient(0, L1(coefficient=8.0)) == 8
