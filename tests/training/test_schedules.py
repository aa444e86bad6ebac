"""Learning rate and coefficient at every step of a short run."""

import math

import pytest

from prolu.spec.sparsity import L1, NoPenalty
from prolu.spec.training import AdamSpec, ResamplingSpec, TrainingSpec
from prolu.training.schedules import last_resample, learning_rate, penalty_coefficient


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


def test_a_cosine_falls_half_a_wave() -> None:
    training = TrainingSpec(steps=6, lr_decay_steps=4, lr_decay="cosine", optimizer=AdamSpec(learning_rate=1.0))
    expected = [1, 1, 1] + [(1 - math.cos(math.pi * u)) / 2 for u in (0.75, 0.5, 0.25)]
    assert [learning_rate(step, training) for step in range(6)] == pytest.approx(expected)


def resampling(steps: int, **options: int) -> TrainingSpec:
    return TrainingSpec(
        steps=steps, optimizer=AdamSpec(learning_rate=12.0), lr_decay_steps=4, resampling=ResamplingSpec(**options)
    )


def test_the_rate_rises_again_after_each_resample_under_what_the_schedule_allows() -> None:
    training = resampling(12, every_steps=4, lr_warmup_steps=3)
    rates = [learning_rate(step, training) for step in range(12)]
    assert rates == pytest.approx([12, 12, 12, 12, 4, 8, 12, 12, 12 / 3, 9 * 2 / 3, 6, 3])


@pytest.mark.parametrize(
    ("options", "due"),
    [
        ({"every_steps": 4}, [4, 8, 12]),  # by default none in the last 4 steps
        ({"every_steps": 5}, [5, 10]),
        ({"every_steps": 9}, []),
        ({"every_steps": 4, "until_step": 8}, [4, 8]),
        ({"every_steps": 4, "until_step": 7}, [4]),
        ({"every_steps": 4, "until_step": 1000}, [4, 8, 12]),  # nothing would follow one at step 16
        ({"every_steps": 20}, []),
    ],
)
def test_resamples_are_due_at_multiples_until_the_last_one_can_settle(options: dict[str, int], due: list[int]) -> None:
    training = resampling(16, **options)
    newest = [last_resample(step, training) for step in range(17)]
    assert [step for step in range(17) if newest[step] == step] == due
    assert newest == [max((at for at in due if at <= step), default=None) for step in range(17)]


def test_without_resampling_none_is_due() -> None:
    assert last_resample(10, TrainingSpec(steps=20)) is None


def test_nothing_is_paid_without_a_penalty() -> None:
    assert penalty_coefficient(3, NoPenalty()) == 0
