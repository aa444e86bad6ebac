"""The loop: what it reports and when, and each way a run can end."""

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from prolu.analysis import evaluate
from prolu.data.places import Interrupted
from prolu.data.synthetic import SyntheticSource
from prolu.models import load_sae
from prolu.models.initialisation import initialise_b_dec
from prolu.spec.report import (
    BiasSnapshot,
    CheckpointWritten,
    DiagnosticsMeasured,
    Failed,
    MetricPoint,
    Progress,
    Report,
    Stopped,
    Succeeded,
)
from prolu.spec.run import RunSpec
from prolu.training import CheckpointStore, Learner, load_checkpoint, train

SpecMaker = Callable[..., RunSpec]


def never() -> None:
    return None


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def run(
    spec: RunSpec, source: SyntheticSource, store: CheckpointStore, **options: Any
) -> tuple[Succeeded | Failed | Stopped, list[Report]]:
    reports: list[Report] = []
    given = {"should_stop": never, "sink": reports.append, "clock": Clock()} | options
    return train(spec, source, checkpoints=store, **given), reports


def stop_at(count: int) -> Callable[[], Any]:
    """Says stop when it is asked for the `count`th time, from 0, and is never asked again.

    It is asked before every step, so that many steps are done then if nothing was evaluated before.
    """
    asked = iter(range(count + 1))
    return lambda: "pause" if next(asked) == count else None


def steps_of(reports: list[Report], kind: type[Report], **like: Any) -> list[int]:
    return [
        report.step
        for report in reports
        if isinstance(report, kind) and all(getattr(report, name) == value for name, value in like.items())
    ]


def without_progress(reports: list[Report]) -> list[Report]:
    return [report for report in reports if not isinstance(report, Progress)]


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
    training = {"resampling": {"every_steps": 8, "samples": 100}, "metrics_every_steps": 4, "lr_decay_steps": 0}
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


@pytest.mark.parametrize("step", [15, 40])
def test_a_stop_during_an_evaluation_is_heard_and_the_resume_makes_up_for_it(
    make_spec: SpecMaker, source: SyntheticSource, store: CheckpointStore, step: int
) -> None:
    spec = make_spec(training={"evaluate_every_steps": 15, "gradient_alignment": {"batches": 2, "batch_size": 64}})
    whole, expected = run(spec, source, store)
    first: list[Report] = []

    def while_evaluating() -> Any:
        return "pause" if any(isinstance(r, MetricPoint) and r.step == step for r in first) else None

    again = CheckpointStore(store.root, "runs/b/e1")
    outcome, _ = run(spec, source, again, sink=first.append, should_stop=while_evaluating)
    assert outcome == Stopped(step=step, reason="pause")
    assert steps_of(first, MetricPoint, split="held_out") == list(range(15, step, 15))
    assert steps_of(first, CheckpointWritten, final=True) == []
    third = CheckpointStore(store.root, "runs/b/e2")
    outcome, second = run(spec, source, third, resume_from=f"runs/b/e1/step-{step}")
    assert outcome == whole
    assert steps_of(second, CheckpointWritten, final=True) == [40]
    assert [r for r in [*first, *second] if not isinstance(r, Progress | CheckpointWritten)] == [
        r for r in expected if not isinstance(r, Progress | CheckpointWritten)
    ]
    for name in ("sae.safetensors", "training.safetensors", "config.json"):
        ends = [Path(store.root, folder, "step-40", name).read_bytes() for folder in ("runs/a/e1", "runs/b/e2")]
        assert ends[0] == ends[1]


def test_a_source_that_notices_the_stop_first_ends_the_run_as_stopped(
    make_spec: SpecMaker, source: SyntheticSource, store: CheckpointStore
) -> None:
    class Attentive(SyntheticSource):
        def batch(self, step: int, batch_size: int) -> Tensor:
            if step == 7:
                raise Interrupted
            return super().batch(step, batch_size)

    asked = iter([None] * 7)
    outcome, _ = run(make_spec(), Attentive(source._spec), store, should_stop=lambda: next(asked, None))
    assert outcome == Stopped(step=7, reason="preempt")
    assert load_checkpoint(store.root, "runs/a/e1/step-7").config.step == 7


def test_training_learns_and_moves_the_biases(
    make_spec: SpecMaker, source: SyntheticSource, store: CheckpointStore
) -> None:
    outcome, reports = run(make_spec(training={"steps": 300}), source, store)
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


@pytest.mark.parametrize("reason", ["cancel", "pause", "preempt", "orphaned"])
def test_a_run_that_is_asked_to_stop_saves_what_it_trained(
    make_spec: SpecMaker, source: SyntheticSource, store: CheckpointStore, reason: str
) -> None:
    asked = iter([None] * 7 + [reason])
    outcome, reports = run(make_spec(), source, store, should_stop=lambda: next(asked))
    assert outcome == Stopped(step=7, reason=reason)
    assert steps_of(reports, CheckpointWritten, final=False) == [7]
    assert load_checkpoint(store.root, "runs/a/e1/step-7").config.step == 7


def test_stopping_at_a_checkpoint_does_not_write_it_again(
    make_spec: SpecMaker, source: SyntheticSource, store: CheckpointStore
) -> None:
    outcome, reports = run(make_spec(), source, store, should_stop=stop_at(10))
    assert outcome == Stopped(step=10, reason="pause")
    assert steps_of(reports, CheckpointWritten) == [10]


def test_stopping_before_the_first_step_writes_no_checkpoint(
    make_spec: SpecMaker, source: SyntheticSource, store: CheckpointStore, tmp_path: Path
) -> None:
    outcome, reports = run(make_spec(), source, store, should_stop=stop_at(0))
    assert outcome == Stopped(step=0, reason="pause")
    assert steps_of(reports, CheckpointWritten) == []
    assert not list(tmp_path.iterdir())


def test_stopping_right_after_a_resume_writes_nothing_new(
    make_spec: SpecMaker, source: SyntheticSource, store: CheckpointStore
) -> None:
    run(make_spec(), source, store, should_stop=stop_at(7))
    again = CheckpointStore(store.root, "runs/a/e2")
    outcome, reports = run(make_spec(), source, again, should_stop=stop_at(0), resume_from="runs/a/e1/step-7")
    assert outcome == Stopped(step=7, reason="pause")
    assert without_progress(reports) == []


def test_a_run_resumed_after_its_last_step_is_evaluated_and_succeeds(
    make_spec: SpecMaker, source: SyntheticSource, store: CheckpointStore
) -> None:
    first, _ = run(make_spec(), source, store)
    again = CheckpointStore(store.root, "runs/a/e2")
    second, reports = run(make_spec(), source, again, resume_from="runs/a/e1/step-40")
    assert second == first
    assert steps_of(reports, MetricPoint, split="held_out") == [40]
    assert steps_of(reports, CheckpointWritten) == []


def test_a_loss_that_becomes_nan_fails_the_run_and_keeps_its_checkpoints(
    make_spec: SpecMaker, source: SyntheticSource, store: CheckpointStore, tmp_path: Path
) -> None:
    class Spoilt(SyntheticSource):
        def batch(self, step: int, batch_size: int) -> Tensor:
            x = super().batch(step, batch_size)
            return x.fill_(float("nan")) if step == 12 else x

    outcome, reports = run(make_spec(training={"metrics_every_steps": 40}), Spoilt(source._spec), store)
    assert isinstance(outcome, Failed)
    assert outcome.failure_class == "nan_loss"
    assert "The loss became NaN or infinite at step 13" in outcome.message
    assert "training.optimizer.learning_rate (now 0.01)" in outcome.message
    assert outcome.step == 15  # the next time anything was due
    assert steps_of(reports, CheckpointWritten) == [10]
    assert [path.name for path in (tmp_path / "runs/a/e1").iterdir()] == ["step-10"]


def test_an_absurd_learning_rate_ends_as_nan_loss_with_only_finite_reports(
    make_spec: SpecMaker, source: SyntheticSource, store: CheckpointStore, tmp_path: Path
) -> None:
    training = {"optimizer": {"kind": "adam", "learning_rate": 1e30}, "lr_warmup_steps": 0, "checkpoint_every_steps": 1}
    outcome, reports = run(make_spec(training=training), source, store)
    assert isinstance(outcome, Failed)
    assert outcome.failure_class == "nan_loss"
    for report in without_progress(reports):
        assert "NaN" not in report.model_dump_json()
    for file in tmp_path.rglob("sae.safetensors"):
        assert all(torch.isfinite(parameter).all() for parameter in load_sae(file).parameters())


def test_stopping_a_run_whose_loss_is_nan_writes_no_checkpoint(
    make_spec: SpecMaker, source: SyntheticSource, store: CheckpointStore, tmp_path: Path
) -> None:
    class Spoilt(SyntheticSource):
        def batch(self, step: int, batch_size: int) -> Tensor:
            return super().batch(step, batch_size).fill_(float("inf"))

    outcome, _ = run(make_spec(), Spoilt(source._spec), store, should_stop=stop_at(2))
    assert isinstance(outcome, Failed)
    assert outcome.failure_class == "nan_loss"
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_that_cannot_be_written_is_a_storage_failure(
    make_spec: SpecMaker, source: SyntheticSource, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    outcome, _ = run(make_spec(), source, CheckpointStore(str(tmp_path / "file"), "runs/a/e1"))
    assert isinstance(outcome, Failed)
    assert (outcome.failure_class, outcome.step) == ("storage", 10)
    assert "Not a directory" in outcome.message
    assert "StorageError" in outcome.traceback_tail


def test_a_checkpoint_that_cannot_be_resumed_from_is_a_failure_of_its_own_and_never_a_fresh_start(
    make_spec: SpecMaker, source: SyntheticSource, store: CheckpointStore
) -> None:
    outcome, reports = run(make_spec(), source, store, resume_from="runs/a/e0/step-10")
    assert isinstance(outcome, Failed)
    assert (outcome.failure_class, outcome.step) == ("bad_checkpoint", 0)
    assert reports == []


def test_a_gpu_out_of_memory_is_its_own_failure(
    make_spec: SpecMaker, source: SyntheticSource, store: CheckpointStore
) -> None:
    class TooLarge(SyntheticSource):
        def batch(self, step: int, batch_size: int) -> Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    outcome, _ = run(make_spec(), TooLarge(source._spec), store)
    assert isinstance(outcome, Failed)
    assert outcome.failure_class == "gpu_oom"
    assert "lower training.batch_size (now 32)" in outcome.message


@pytest.mark.parametrize("error", [OSError("disk gone"), ValueError("bad shard")])
def test_what_the_source_raises_is_passed_on(
    make_spec: SpecMaker, source: SyntheticSource, store: CheckpointStore, error: Exception
) -> None:
    class Broken(SyntheticSource):
        def batch(self, step: int, batch_size: int) -> Tensor:
            raise error

    with pytest.raises(type(error), match=str(error)):
        run(make_spec(), Broken(source._spec), store)


def test_every_report_survives_json(make_spec: SpecMaker, source: SyntheticSource, store: CheckpointStore) -> None:
    outcome, reports = run(make_spec(), source, store)
    for report in [*reports, outcome]:
        assert type(report).model_validate_json(report.model_dump_json()) == report
