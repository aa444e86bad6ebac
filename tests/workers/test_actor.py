"""The actor as a plain object: real training on synthetic activations, polled by the test. No Ray."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prolu.spec import RunSpec
from prolu.spec.report import BiasSnapshot, CheckpointWritten, Failed, LogLines, MetricPoint, Report, Stopped, Succeeded
from workers.actor import PackActor
from workers.messages import Assignment, Attempt, Surroundings, read_report

ATTEMPT = Attempt("0190-run", 1)


def spec(steps: int = 20, **training: Any) -> RunSpec:
    return RunSpec.model_validate(
        {
            "data": {"kind": "synthetic", "d_in": 8, "n_features": 16, "eval_samples": 64},
            "sae": {"kind": "prolu", "d_sae": 16},
            "sparsity": {"kind": "l1", "coefficient": 0.001},
            "training": {"steps": steps, "batch_size": 16, "metrics_every_steps": 10, **training},
        }
    )


class Office:
    """Starts actors, and listens to them as a dispatcher would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ended = threading.Event()
        self.heard: list[Report] = []
        self.actor: PackActor | None = None
        self.started: list[PackActor] = []

    def start(
        self, run: RunSpec, *, attempt: Attempt = ATTEMPT, resume_from: str | None = None, orphan_seconds: float = 300
    ) -> PackActor:
        surroundings = Surroundings(
            artifact_root=str(self.folder / "artifacts"),
            cache_dir=str(self.folder / "cache"),
            data_roots=(str(self.folder / "data"),),
            hub_online=False,
            orphan_seconds=orphan_seconds,
        )
        assignment = Assignment(attempt, run.model_dump_json(), resume_from)
        self.actor = PackActor([assignment], surroundings, node="here", end_process=self.ended.set)
        self.started.append(self.actor)
        return self.actor

    def listen(self, until: Callable[[Report], bool], *, attempt: Attempt = ATTEMPT) -> Report:
        """Poll, acknowledging what was heard, until a report that satisfies `until`."""
        assert self.actor is not None
        ack, deadline = 0, time.monotonic() + 60
        while time.monotonic() < deadline:
            self.ended.wait(0.005)  # leaves the interpreter to the thread that trains
            for message in self.actor.poll({attempt: ack}).messages:
                ack = message.seq
                report = read_report(message.report)
                self.heard.append(report)
                if until(report):
                    return report
        raise AssertionError(f"never heard it; heard {self.heard}")

    def outcome(self, attempt: Attempt = ATTEMPT) -> Report:
        return self.listen(lambda report: isinstance(report, Succeeded | Failed | Stopped), attempt=attempt)

    def of(self, kind: type[Report]) -> list[Any]:
        return [report for report in self.heard if isinstance(report, kind)]


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    office = Office(tmp_path)
    yield office
    for actor in office.started:
        actor.stop(ATTEMPT, "cancel")
        actor.join()


def test_an_attempt_reports_its_whole_life_and_leaves_its_files_under_its_own_prefix(office: Office):
    office.start(spec(dead_window_tokens=64))
    outcome = office.outcome()
    assert isinstance(outcome, Succeeded)
    assert set(outcome.metrics) >= {"l0", "l1", "mse", "fvu", "dead_fraction"}
    assert [point.step for point in office.of(MetricPoint) if point.split == "train"] == [10, 20]
    assert [snapshot.step for snapshot in office.of(BiasSnapshot)] == [0, 20]
    (written,) = office.of(CheckpointWritten)
    assert (written.path, written.final) == ("runs/0190-run/e1/step-20", True)
    assert (office.folder / "artifacts" / written.path / "manifest.json").exists()


def test_a_stop_is_obeyed_within_a_step_and_leaves_a_checkpoint_to_go_on_from(office: Office):
    actor = office.start(spec(steps=10_000_000, metrics_every_steps=1))
    office.listen(lambda report: isinstance(report, MetricPoint))
    actor.stop(ATTEMPT, "pause")
    outcome = office.outcome()
    assert isinstance(outcome, Stopped)
    assert outcome.reason == "pause"
    assert office.of(CheckpointWritten)[-1].step == outcome.step


def test_a_stop_of_another_attempt_is_nobodys_business(office: Office):
    actor = office.start(spec())
    actor.stop(Attempt(ATTEMPT.run_id, 2), "cancel")
    assert isinstance(office.outcome(), Succeeded)


def test_an_actor_that_nobody_polls_checkpoints_and_ends_its_process(office: Office):
    actor = office.start(spec(steps=10_000_000, metrics_every_steps=1), orphan_seconds=1.0)
    office.listen(lambda report: isinstance(report, MetricPoint))
    assert office.ended.wait(30)
    heard = [read_report(message.report) for message in actor.poll({}).messages]
    assert isinstance(heard[-1], Stopped)
    assert heard[-1].reason == "orphaned"
    assert any(isinstance(report, CheckpointWritten) for report in heard)


def test_an_actor_that_is_polled_lives_on_after_its_attempt_has_ended(office: Office):
    office.start(spec(), orphan_seconds=300)
    office.outcome()
    assert not office.ended.wait(0.1)


def test_a_loss_that_turns_nan_fails_the_attempt_alone_and_keeps_earlier_checkpoints(office: Office):
    run = spec(steps=2_000, checkpoint_every_steps=1, optimizer={"kind": "adam", "learning_rate": 1e30})
    office.start(run)
    outcome = office.outcome()
    assert isinstance(outcome, Failed)
    assert outcome.failure_class == "nan_loss"


def test_bad_data_is_the_users_to_mend_and_says_so_without_a_traceback(office: Office):
    bad = spec().model_copy(update={"data": shards_at(office.folder / "data" / "nothing")})
    office.start(bad)
    outcome = office.outcome()
    assert isinstance(outcome, Failed)
    assert (outcome.failure_class, outcome.traceback_tail) == ("user_error", "")
    assert "data.path" in outcome.message


def test_data_that_change_between_attempts_are_the_users_to_mend_and_not_the_checkpoints_fault(office: Office):
    folder = office.folder / "data" / "acts"
    folder.mkdir(parents=True)
    np.save(folder / "a.npy", np.random.default_rng(0).standard_normal((600, 8)).astype(np.float32))
    run = spec().model_copy(update={"data": shards_at(folder).model_copy(update={"eval_samples": 100})})
    office.start(run)
    assert isinstance(office.outcome(), Succeeded)
    (written,) = office.of(CheckpointWritten)
    np.save(folder / "b.npy", np.ones((10, 8), np.float32))
    second = Attempt(ATTEMPT.run_id, 2)
    office.start(run, attempt=second, resume_from=written.path)
    outcome = office.outcome(second)
    assert isinstance(outcome, Failed)
    assert (outcome.failure_class, outcome.traceback_tail) == ("user_error", "")
    assert f"data.path is '{folder}', which no longer gives" in outcome.message


def test_a_path_outside_the_data_roots_is_refused_on_the_worker_too(office: Office):
    secret = office.folder / "secret"
    secret.mkdir()
    office.start(spec().model_copy(update={"data": shards_at(secret)}))
    outcome = office.outcome()
    assert isinstance(outcome, Failed)
    assert outcome.failure_class == "user_error"


def test_a_store_that_cannot_be_written_is_a_failure_of_storage(office: Office):
    (office.folder / "artifacts").write_text("a file where the folder should be")
    office.start(spec())
    outcome = office.outcome()
    assert isinstance(outcome, Failed)
    assert outcome.failure_class == "storage"


@pytest.mark.parametrize(
    "last",
    [
        MetricPoint(split="train", step=20, tokens=320, values={}),
        CheckpointWritten(step=20, tokens=320, path="runs/0190-run/e1/step-20", files=[], final=False),
    ],
    ids=["metrics", "checkpoint"],
)
def test_an_unforeseen_failure_names_the_last_step_that_was_reported(
    office: Office, monkeypatch: pytest.MonkeyPatch, last: Report
):
    def broken(*_: object, sink: Callable[[Report], None], **__: object) -> None:
        sink(last)
        raise RuntimeError("the machine is on fire")

    monkeypatch.setattr("prolu.training.train", broken)
    office.start(spec())
    outcome = office.outcome()
    assert isinstance(outcome, Failed)
    assert outcome.step == 20


def test_a_run_that_is_too_large_for_the_node_is_out_of_memory_not_a_bug(office: Office):
    large = spec().model_dump()
    large["data"]["d_in"], large["sae"]["d_sae"] = 65_536, 4_194_304
    office.start(RunSpec.model_validate(large))
    outcome = office.outcome()
    assert isinstance(outcome, Failed)
    assert outcome.failure_class == "host_oom"
    assert "too little memory" in outcome.message


def test_an_unforeseen_error_is_an_outcome_with_its_traceback(office: Office):
    actor = office.start(spec())
    office.outcome()
    assert actor is office.actor
    office.actor = PackActor(
        [Assignment(ATTEMPT, "{}", None)],
        Surroundings("a", "c", (), False, 300.0),
        node="here",
        end_process=office.ended.set,
    )
    outcome = office.outcome()
    assert isinstance(outcome, Failed)
    assert outcome.failure_class == "internal_error"
    assert "ValidationError" in outcome.traceback_tail


def test_a_second_attempt_goes_on_where_the_first_was_stopped(office: Office):
    actor = office.start(spec(steps=1_000, metrics_every_steps=10))
    office.listen(lambda report: isinstance(report, MetricPoint))
    actor.stop(ATTEMPT, "preempt")
    office.outcome()
    checkpoint = office.of(CheckpointWritten)[-1]
    office.heard.clear()
    second = Attempt(ATTEMPT.run_id, 2)
    office.start(spec(steps=1_000, metrics_every_steps=10), attempt=second, resume_from=checkpoint.path)
    assert isinstance(office.outcome(second), Succeeded)
    assert office.of(MetricPoint)[0].step == (checkpoint.step // 10 + 1) * 10
    assert not [snapshot for snapshot in office.of(BiasSnapshot) if snapshot.step == 0], "it did not begin anew"


def shards_at(path: Path) -> Any:
    from prolu.spec import ShardsData

    return ShardsData(path=str(path))


def test_what_an_attempt_logs_is_reported_before_its_end_from_its_first_line_to_its_last(
    office: Office, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, "prolu")
    caplog.set_level(logging.INFO, "workers")
    office.start(spec(checkpoint_every_steps=10))
    office.outcome()
    assert isinstance(office.heard[-1], Succeeded)
    told = [line.split("Z ", 1)[1] for report in office.of(LogLines) for line in report.text.split("\n")]
    assert told[0].startswith(
        "INFO workers.actor: Attempt 1 of run 0190-run trains from the start on node here, device cpu"
    )
    assert "torch" in told[0]
    assert told[1].startswith("INFO workers.actor: The data are open: 8 numbers wide, ")
    assert [line for line in told if "is in runs/0190-run/e1/step-10." in line]
    assert [line for line in told if "Step 20: evaluated on held-out activations: l0 " in line]
    assert told[-1] == "INFO prolu.training: Step 20: every step is done."


def test_a_failure_is_logged_with_its_traceback(office: Office, monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the machine is on fire")

    monkeypatch.setattr("prolu.training.train", broken)
    office.start(spec())
    office.outcome()
    told = "\n".join(report.text for report in office.of(LogLines))
    assert "ERROR workers.actor: Step 0: failed (internal_error): RuntimeError: the machine is on fire" in told
    assert 'raise RuntimeError("the machine is on fire")' in told
