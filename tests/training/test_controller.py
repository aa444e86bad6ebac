"""The weight of the penalty: as the spec says it, and steered to a target l0."""

import math
from collections.abc import Callable

import pytest
import torch

from prolu.data.synthetic import SyntheticSource
from prolu.spec.report import MetricPoint, Succeeded
from prolu.spec.run import RunSpec
from prolu.training import CheckpointStore, Learner
from prolu.training.controller import LOG_SCALE_BOUND, Coefficient
from tests.training.running import run

SpecMaker = Callable[..., RunSpec]


def controlled(
    target_l0: float, *, coefficient: float = 0.01, warmup_steps: int = 0, **options: float
) -> dict[str, object]:
    controller = {"target_l0": target_l0, **options}
    return {"kind": "l1", "coefficient": coefficient, "warmup_steps": warmup_steps, "controller": controller}


def lambdas(spec: RunSpec, l0_of_each_step: list[float]) -> list[float]:
    coefficient = Coefficient(spec, torch.device("cpu"))
    values = []
    for step, l0 in enumerate(l0_of_each_step):
        values.append(coefficient.at(step).item())
        coefficient.observe(torch.tensor(float(l0)), step)
    return values


def test_it_answers_a_case_worked_by_hand(make_spec: SpecMaker) -> None:
    spec = make_spec(sparsity=controlled(4.0, rate=0.5))
    # log(8 / 4) = 0.69; log(400 / 4) is held at 1, log(0 / 4) at -1; log(4 / 4) = 0
    expected = [1, math.sqrt(2), math.sqrt(2 * math.e), math.sqrt(2), math.sqrt(2)]
    assert lambdas(spec, [8, 400, 0, 4, 4]) == pytest.approx([0.01 * factor for factor in expected])


def test_it_waits_for_the_end_of_the_warm_up(make_spec: SpecMaker) -> None:
    spec = make_spec(sparsity=controlled(4.0, warmup_steps=3, rate=1.0))
    assert lambdas(spec, [4 * math.e] * 5) == pytest.approx([0.01 / 3, 0.02 / 3, 0.01, 0.01 * math.e, 0.01 * math.e**2])


def test_it_pauses_after_each_resample(make_spec: SpecMaker) -> None:
    resampling = {"every_steps": 3, "lr_warmup_steps": 3}
    spec = make_spec(sparsity=controlled(4.0, rate=1.0, pause_steps=2), training={"resampling": resampling})
    # resamples before steps 3 and 6: what steps 3, 4, 6 and 7 had for l0 is not answered
    expected = [0, 1, 2, 3, 3, 3, 4, 4, 4, 5]
    assert lambdas(spec, [4 * math.e] * 10) == pytest.approx([0.01 * math.exp(power) for power in expected])


def test_it_multiplies_by_at_most_ten_thousand_either_way_and_turns_back_at_once(make_spec: SpecMaker) -> None:
    assert math.exp(LOG_SCALE_BOUND) == pytest.approx(1e4)
    spec = make_spec(sparsity=controlled(4.0, rate=1.0))
    assert lambdas(spec, [40.0] * 14 + [1.0] * 2)[-5:] == pytest.approx([100, 100, 100, 100, 100 / math.e])
    assert lambdas(spec, [0.0] * 14 + [40.0] * 2)[-5:] == pytest.approx([1e-6, 1e-6, 1e-6, 1e-6, 1e-6 * math.e])


@pytest.mark.parametrize(("target", "bound"), [(1e-3, 100.0), (39.9, 1e-6)])
def test_a_run_whose_target_is_out_of_reach_ends_well_with_lambda_at_its_bound(
    make_spec: SpecMaker, source: SyntheticSource, store: CheckpointStore, target: float, bound: float
) -> None:
    spec = make_spec(
        sparsity=controlled(target, rate=1.0),
        training={"steps": 150, "optimizer": {"kind": "adam", "learning_rate": 1e-9}},  # l0 stays where it is
    )
    outcome, reports = run(spec, source, store)
    assert isinstance(outcome, Succeeded)
    points = [report.values for report in reports if isinstance(report, MetricPoint) and report.split == "train"]
    assert [values["coefficient"] for values in points[-30:]] == pytest.approx([bound] * 30)


def test_without_a_controller_the_coefficient_is_the_specs(make_spec: SpecMaker) -> None:
    assert lambdas(make_spec(), [1.0, 50.0, 0.0]) == [0.01] * 3
    assert lambdas(make_spec(sparsity={"kind": "l1", "coefficient": 8.0, "warmup_steps": 4}), [0.0] * 5) == [
        2,
        4,
        6,
        8,
        8,
    ]


@pytest.mark.parametrize(("target", "coefficient"), [(2.0, 1e-4), (6.0, 0.3)])
def test_training_reaches_the_target_from_far_off(
    make_spec: SpecMaker, source: SyntheticSource, target: float, coefficient: float
) -> None:
    spec = make_spec(
        sparsity=controlled(target, coefficient=coefficient, rate=0.05),
        training={"steps": 500, "lr_decay_steps": 0, "optimizer": {"kind": "adam", "learning_rate": 0.01}},
    )
    learner = Learner(spec, source.d_in)
    batches = [source.batch(step, 64) for step in range(10)]
    l0 = [(learner.step(batches[step % 10]).acts > 0).sum(1).float().mean().item() for step in range(500)]
    assert sum(l0[-50:]) / 50 == pytest.approx(target, rel=0.15)
