"""Each way a run can end: asked to stop, failed, resumed at its end."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from prolu.data.places import Interrupted
from prolu.data.synthetic import SyntheticSource
from prolu.models import load_sae
from prolu.spec.data import SyntheticData
from prolu.spec.report import (
    CheckpointWritten,
    Failed,
    MetricPoint,
    Progress,
    Report,
    Stopped,
    Succeeded,
)
from prolu.spec.run import RunSpec
from prolu.training import CheckpointStore, load_checkpoint
from tests.training.conftest import DATA
from tests.training.running import run, steps_of, stop_at, without_progress

SpecMaker = Callable[..., RunSpec]


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


FREE = {"kind": "relu", "d_sae": 40, "decoder_norm": "free"}
L1_FREE = {"kind": "l1_decoder_norm", "coefficient": 1e30}


@pytest.mark.parametrize(
    "parts",
    [
        {"sae": {"kind": "jumprelu", "d_sae": 40, "initial_threshold": 1e6, "bandwidth": 1e-6}},
        {"sae": {**FREE, "decoder_init_norm": 1e6}, "sparsity": L1_FREE},
        {
            "sae": FREE,
            "sparsity": {**L1_FREE, "coefficient": 1.0},
            "training": {"optimizer": {"kind": "adam", "learning_rate": 1e30}},
        },
        {"data": {**DATA.model_dump(), "noise_std": 1e6}},
    ],
    ids=["threshold", "decoder", "rate", "noise"],
)
def test_the_largest_numbers_of_the_language_train_or_end_as_nan_loss(
    make_spec: SpecMaker, store: CheckpointStore, parts: dict[str, Any]
) -> None:
    every_step = {"steps": 3, "lr_warmup_steps": 0, "lr_decay_steps": 0, "bias_snapshot_every_steps": 1}
    spec = make_spec(**parts | {"training": every_step | parts.get("training", {})})
    assert isinstance(spec.data, SyntheticData)
    outcome, reports = run(spec, SyntheticSource(spec.data), store)
    assert isinstance(outcome, Succeeded) or (isinstance(outcome, Failed) and outcome.failure_class == "nan_loss")
    assert all("NaN" not in report.model_dump_json() for report in reports)


def test_a_start_that_is_not_finite_ends_as_nan_loss_before_anything_is_reported(
    make_spec: SpecMaker, source: SyntheticSource, store: CheckpointStore
) -> None:
    class Spoilt(SyntheticSource):
        def batch(self, step: int, batch_size: int) -> Tensor:
            return super().batch(step, batch_size).fill_(float("inf"))

    spec = make_spec(sae={"kind": "prolu", "d_sae": 40, "b_dec_init": "mean"})
    outcome, reports = run(spec, Spoilt(source._spec), store)
    assert isinstance(outcome, Failed)
    assert (outcome.failure_class, outcome.step, reports) == ("nan_loss", 0, [])


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


@pytest.mark.parametrize("step", [15, 40])
def test_a_failing_evaluation_costs_no_weights_and_a_resume_from_them_ends_as_an_undisturbed_run(
    make_spec: SpecMaker, source: SyntheticSource, store: CheckpointStore, step: int
) -> None:
    spec = make_spec(training={"evaluate_every_steps": 15, "gradient_alignment": {"batches": 2, "batch_size": 64}})
    whole, expected = run(spec, source, store)
    first: list[Report] = []

    class Fragile(SyntheticSource):
        def evaluation(self, batch_size: int) -> Iterator[Tensor]:
            if any(isinstance(report, MetricPoint) and report.step == step for report in first):
                raise RuntimeError("the held-out data broke")
            return super().evaluation(batch_size)

    broken = CheckpointStore(store.root, "runs/b/e1")
    with pytest.raises(RuntimeError, match="the held-out data broke"):
        run(spec, Fragile(source._spec), broken, sink=first.append)
    assert isinstance(first[-1], CheckpointWritten)
    assert (first[-1].step, first[-1].final) == (step, False)
    again = CheckpointStore(store.root, "runs/b/e2")
    outcome, second = run(spec, source, again, resume_from=f"runs/b/e1/step-{step}")
    assert outcome == whole
    assert [r for r in [*first, *second] if not isinstance(r, Progress | CheckpointWritten)] == [
        r for r in expected if not isinstance(r, Progress | CheckpointWritten)
    ]
    for name in ("sae.safetensors", "training.safetensors", "config.json"):
        ends = [Path(store.root, folder, "step-40", name).read_bytes() for folder in ("runs/a/e1", "runs/b/e2")]
        assert ends[0] == ends[1]


def test_an_evaluation_that_fails_is_what_is_told_even_if_the_weights_cannot_be_saved_either(
    make_spec: SpecMaker, source: SyntheticSource, tmp_path: Path
) -> None:
    class Fragile(SyntheticSource):
        def evaluation(self, batch_size: int) -> Iterator[Tensor]:
            raise RuntimeError("the held-out data broke")

    (tmp_path / "file").write_text("no folder")
    spec = make_spec(training={"evaluate_every_steps": None, "checkpoint_every_steps": 1000})
    with pytest.raises(RuntimeError, match="the held-out data broke"):
        run(spec, Fragile(source._spec), CheckpointStore(str(tmp_path / "file"), "runs"))
