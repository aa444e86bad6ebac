"""The loop: what it reports and when."""

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor

from prolu.analysis import evaluate
from prolu.analysis.gradient_alignment import gradient_alignment
from prolu.data.synthetic import SyntheticSource
from prolu.models import load_sae
from prolu.models.initialisation import initialise_b_dec
from prolu.spec.report import (
    Alignment,
    BiasSnapshot,
    CheckpointWritten,
    DiagnosticsMeasured,
    Failed,
    MetricPoint,
    Progress,
    Stopped,
    Succeeded,
)
from prolu.spec.run import RunSpec
from prolu.spec.training import GradientAlignmentSpec
from prolu.training import CheckpointStore, Learner, load_checkpoint
from tests.training.running import Clock, run, steps_of, without_progress

SpecMaker = Callable[..., RunSpec]


def test_everything_is_reported_at_its_interval_and_at_the_end(
    make_spec: SpecMaker, source: SyntheticSource, store: CheckpointStore
) -> None:
    outcome, reports = run(make_spec(), source, store)
    assert isinstance(outcome, Succeeded)
    assert outcome.step == 40
    assert steps_of(reports, MetricPoint, split="train") == [*range(3, 40, 3), 40]
    assert steps_of(reports, MetricPoint, split="held_out") == [15, 30, 40]
    assert steps_of(reports, BiasSnapshot) == [0, 8, 16, 24, 32, 40]
    assert steps_of(reports, CheckpointWritten) == [10, 20, 30, 40]
    assert steps_of(reports, CheckpointWritten, final=True) == [40]


def test_nothing_is_reported_twice_when_the_last_step_is_due_anyway(
    make_spec: SpecMaker, source: SyntheticSource, store: CheckpointStore
) -> None:
    intervals = dict.fromkeys(
        ["metrics_every_steps", "evaluate_every_steps", "bias_snapshot_every_steps", "checkpoint_every_steps"], 20
    )
    _, reports = run(make_spec(training=intervals), source, store)
    assert steps_of(reports, MetricPoint, split="train") == [20, 40]
    assert steps_of(reports, MetricPoint, split="held_out") == [20, 40]
    assert steps_of(reports, BiasSnapshot) == [0, 20, 40]
    assert steps_of(reports, CheckpointWritten) == [20, 40]


def test_evaluation_is_by_default_only_at_the_end(
    make_spec: SpecMaker, source: SyntheticSource, store: CheckpointStore
) -> None:
    _, reports = run(make_spec(training={"evaluate_every_steps": None}), source, store)
    assert steps_of(reports, MetricPoint, split="held_out") == [40]


def test_a_checkpoint_comes_after_the_other_reports_of_its_step(
    make_spec: SpecMaker, source: SyntheticSource, store: CheckpointStore
) -> None:
    _, reports = run(make_spec(), source, store)
    steps = [
        report.step for report in without_progress(reports) if not isinstance(report, Succeeded | Failed | Stopped)
    ]
    assert steps == sorted(steps)
    for before, after in pairwise(reports):
        if isinstance(before, CheckpointWritten) and not isinstance(after, Progress):
            assert after.step > before.step


def test_the_final_metrics_are_those_of_the_final_checkpoint(
    make_spec: SpecMaker, source: SyntheticSource, store: CheckpointStore
) -> None:
    outcome, reports = run(make_spec(), source, store)
    assert isinstance(outcome, Succeeded)
    final = next(report for report in reports if isinstance(report, CheckpointWritten) and report.final)
    measured = evaluate(load_sae(f"{store.root}/{final.path}"), source, batch_size=32)
    assert {name: outcome.metrics[name] for name in measured} == measured
    assert set(outcome.metrics) == {*measured, "dead_fraction"}
    assert outcome.metrics["fvu"] < 1


@pytest.mark.parametrize(("window", "first"), [(480, 15), (481, 18), (1280, 40), (1281, None)])
def test_dead_latents_are_counted_once_the_window_is_full(
    make_spec: SpecMaker, source: SyntheticSource, store: CheckpointStore, window: int, first: int | None
) -> None:
    outcome, reports = run(make_spec(training={"dead_window_tokens": window}), source, store)
    points = [report for report in reports if isinstance(report, MetricPoint)]
    counted = [point.step for point in points if "dead_fraction" in point.values]
    expected = [point.step for point in points if point.step * 32 >= window]
    assert counted == expected
    assert next(iter(counted), None) == first
    assert isinstance(outcome, Succeeded)
    assert ("dead_fraction" in outcome.metrics) == (first is not None)


def test_training_metrics_are_of_the_batch_and_its_step(
    make_spec: SpecMaker, source: SyntheticSource, store: CheckpointStore
) -> None:
    _, reports = run(make_spec(), source, store)
    point = next(report for report in reports if isinstance(report, MetricPoint))
    assert (point.step, point.tokens) == (3, 96)
    assert point.values["learning_rate"] == pytest.approx(0.01 * 3 / 10)
    assert point.values["coefficient"] == 0.01
    assert point.values["reconstruction"] == pytest.approx(point.values["mse"], rel=1e-5)
    assert point.values["penalty"] == pytest.approx(point.values["l1"], rel=1e-5)
    expected = point.values["reconstruction"] + 0.01 * point.values["penalty"]
    assert point.values["loss"] == pytest.approx(expected, rel=1e-5)


def test_a_lambda_that_a_controller_steers_is_reported_as_it_was(
    make_spec: SpecMaker, source: SyntheticSource, store: CheckpointStore
) -> None:
    sparsity = {"kind": "l1", "coefficient": 0.01, "controller": {"target_l0": 1.0, "rate": 0.1}}
    _, reports = run(make_spec(sparsity=sparsity), source, store)
    points = [report.values for report in reports if isinstance(report, MetricPoint) and report.split == "train"]
    assert points[0]["coefficient"] == pytest.approx(0.01 * math.exp(0.2))  # twice after steps far above the target
    loss = points[-1]["reconstruction"] + points[-1]["coefficient"] * points[-1]["penalty"]
    assert points[-1]["loss"] == pytest.approx(loss, rel=1e-5)


def test_the_auxiliary_term_is_reported_of_those_who_have_one(
    make_spec: SpecMaker, source: SyntheticSource, store: CheckpointStore
) -> None:
    _, reports = run(make_spec(sae={"kind": "gated", "d_sae": 40}), source, store)
    values = next(report.values for report in reports if isinstance(report, MetricPoint))
    loss = values["reconstruction"] + 0.01 * values["penalty"] + values["auxiliary"]
    assert values["loss"] == pytest.approx(loss, rel=1e-5)
    assert values["auxiliary"] > 0
    _, reports = run(make_spec(), source, CheckpointStore(store.root, "runs/b/e1"))
    assert not any("auxiliary" in report.values for report in reports if isinstance(report, MetricPoint))


def test_resampling_is_reported_when_it_happened(
    make_spec: SpecMaker, source: SyntheticSource, store: CheckpointStore
) -> None:
    resampling = {"every_steps": 8, "samples": 100, "lr_warmup_steps": 8}
    training = {"resampling": resampling, "metrics_every_steps": 4, "lr_decay_steps": 0}
    spec = make_spec(training=training, sae={"kind": "jumprelu", "d_sae": 40, "initial_threshold": 1e3})  # none fires
    _, reports = run(spec, source, store)
    points = {r.step: r.values for r in reports if isinstance(r, MetricPoint) and r.split == "train"}
    assert [step for step, values in points.items() if "resampled" in values] == [12, 20, 28, 36]
    assert points[28]["resampled"] == 40


@pytest.mark.parametrize("where", ["mean", "geometric_median"])
def test_b_dec_starts_amid_the_first_activations(
    make_spec: SpecMaker, source: SyntheticSource, store: CheckpointStore, where: str
) -> None:
    read = []

    class Watched(SyntheticSource):
        def batch(self, step: int, batch_size: int) -> Tensor:
            read.append(step)
            return super().batch(step, batch_size)

    spec = make_spec(sae={"b_dec_init": where}, training={"steps": 1, "lr_warmup_steps": 0, "lr_decay_steps": 0})
    run(spec, Watched(source._spec), store)
    assert read == [*range(8_192 // 32), 0]
    samples = torch.cat([source.batch(step, 32) for step in range(8_192 // 32)])
    expected = Learner(spec, 16)
    initialise_b_dec(expected.sae, samples)
    torch.testing.assert_close(
        load_sae(f"{store.root}/runs/a/e1/step-1").b_dec, expected.sae.b_dec, atol=0.0101, rtol=0
    )
    assert expected.sae.b_dec.any()


def test_the_final_checkpoint_has_the_exports_and_no_other_has(
    make_spec: SpecMaker, source: SyntheticSource, store: CheckpointStore, tmp_path: Path
) -> None:
    spec = make_spec().model_copy(update={"exports": ["sae_lens", "dictionary_learning"]})
    _, reports = run(spec, source, store)
    own = ["config.json", "sae.safetensors", "training.safetensors"]
    for report in reports:
        if isinstance(report, CheckpointWritten):
            names = [file.name for file in report.files]
            assert names[:3] == own
            assert report.final == ("sae_lens/cfg.json" in names)
            assert {name.split("/")[0] for name in names[3:]} == ({*spec.exports} if report.final else set())
            folder = tmp_path / report.path
            written = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
            assert written == {*names, "manifest.json"}
            assert len({path.stat().st_mode for path in folder.rglob("*") if path.is_file()}) == 1
            assert load_checkpoint(store.root, report.path).config.step == report.step


def test_estimators_are_compared_after_the_last_step_and_before_its_checkpoint(
    make_spec: SpecMaker, source: SyntheticSource, store: CheckpointStore
) -> None:
    alignment = {"batches": 2, "batch_size": 64, "bandwidths": [0.1]}
    _, reports = run(make_spec(training={"gradient_alignment": alignment}), source, store)
    kinds = [type(report) for report in without_progress(reports)]
    assert kinds[-2:] == [DiagnosticsMeasured, CheckpointWritten]
    assert kinds.count(DiagnosticsMeasured) == 1
    measured = without_progress(reports)[-2]
    assert isinstance(measured, DiagnosticsMeasured)
    assert measured.step == 40
    assert measured.gradient_alignment


def test_estimators_are_compared_at_the_lambda_that_the_run_had_come_to(
    make_spec: SpecMaker, source: SyntheticSource, store: CheckpointStore
) -> None:
    steered = {"kind": "l1", "coefficient": 0.01, "controller": {"target_l0": 1.0, "rate": 0.2}}
    alignment = {"estimators": [{"kind": "ste"}], "batches": 2, "batch_size": 64, "bandwidths": [0.1]}
    spec = make_spec(sparsity=steered, training={"gradient_alignment": alignment})
    _, reports = run(spec, source, store)
    (measured,) = (report for report in reports if isinstance(report, DiagnosticsMeasured))
    final = next(report for report in reports if isinstance(report, CheckpointWritten) and report.final)
    learner = Learner(spec, source.d_in, data_identity=source.identity)
    learner.restore(load_checkpoint(store.root, final.path))

    def at(coefficient: float) -> list[Alignment]:
        return gradient_alignment(
            learner.sae,
            source,
            GradientAlignmentSpec.model_validate(alignment),
            sparsity=spec.sparsity,
            over="mean",
            coefficient=coefficient,
        )

    assert measured.gradient_alignment == at(learner.coefficient)
    assert measured.gradient_alignment != at(0.01)


def test_training_learns_and_moves_the_biases(
    make_spec: SpecMaker, source: SyntheticSource, store: CheckpointStore
) -> None:
    seldom = {"metrics_every_steps": 300, "bias_snapshot_every_steps": 300, "evaluate_every_steps": 300}
    outcome, reports = run(make_spec(training={"steps": 300} | seldom), source, store)
    assert isinstance(outcome, Succeeded)
    assert outcome.metrics["fvu"] < 0.3
    snapshots = [report.statistics.all for report in reports if isinstance(report, BiasSnapshot)]
    assert snapshots[0].fraction_zero == 1
    assert snapshots[-1].fraction_negative > 0.5


def test_progress_is_spaced_out_by_the_clock(
    make_spec: SpecMaker, source: SyntheticSource, store: CheckpointStore
) -> None:
    clock = Clock()

    def tick() -> None:
        clock.now += 0.125

    spec = make_spec(training={"evaluate_every_steps": None})  # while evaluating, it is asked more often
    _, reports = run(spec, source, store, clock=clock, should_stop=tick)
    training = [report.done for report in reports if isinstance(report, Progress) and report.phase == "training"]
    assert training == [0, 8, 16, 24, 32, 40]
    assert all(report.total == 40 for report in reports if isinstance(report, Progress))


def test_every_report_survives_json(make_spec: SpecMaker, source: SyntheticSource, store: CheckpointStore) -> None:
    outcome, reports = run(make_spec(), source, store)
    for report in [*reports, outcome]:
        assert type(report).model_validate_json(report.model_dump_json()) == report
