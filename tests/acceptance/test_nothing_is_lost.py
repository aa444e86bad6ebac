"""`prolu up` as a person runs it, with real processes, real Ray and the real language model; and then the kills.

The sweep is the demo's own, with fewer tokens, steps, variants and coefficients.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest

from prolu.client import Client
from prolu.client.wire import RunSummary
from prolu.spec import SweepSpec, parse, validate

ROOT = Path(__file__).parents[2]
MODEL_CACHE = ROOT / "build" / "test-cache"

pytestmark = [pytest.mark.ray, pytest.mark.model, pytest.mark.timeout(600)]


class Stack:
    """`prolu up` in a process of its own."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        environment = os.environ | {"PROLU_DATA_DIR": str(data_dir), "PROLU_CACHE_DIR": str(MODEL_CACHE)}
        for name in ("PROLU_URL", "PROLU_TOKEN", "PROLU_RAY_ADDRESS", "RAY_ADDRESS", "RAY_AUTH_TOKEN_PATH"):
            environment.pop(name, None)
        self.log = data_dir.with_suffix(".log")
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "prolu.client.cli", "up", "--port", "0", "--cpus", "2"],
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=data_dir.parent,
            )
        wait_for(lambda: (data_dir / "endpoint.json").exists() or self._died(), seconds=120)
        note = parse((data_dir / "endpoint.json").read_text())
        self.client = Client(url=note["url"], token=(data_dir / "token").read_text().strip())

    def descendants(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def kill(self, is_victim: Callable[[str], bool]) -> int:
        """SIGKILL the processes of the stack whose command line satisfies `is_victim`; return how many."""
        killed = 0
        for process in self.descendants():
            try:
                if is_victim(" ".join(process.cmdline())):
                    process.kill()
                    killed += 1
            except psutil.NoSuchProcess:
                continue
        return killed

    def stop(self) -> float:
        """Ctrl-C. Returns the seconds it took."""
        began = time.monotonic()
        self.client.close()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)
        return time.monotonic() - began

    def _died(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"prolu up ended: {self.log.read_text()[-3000:]}")
        return False


def wait_for(condition: Callable[[], Any], *, seconds: float = 180) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"{condition} did not come true within {seconds} s")


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that still run; one that has ended and was not collected yet does not."""
    _, left = psutil.wait_procs(processes, timeout=1)
    return [process for process in left if process.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One that the tests which do not stop it share."""
    stack = Stack(tmp_path_factory.mktemp("up") / "data")
    yield stack
    if stack.process.poll() is None:
        family = [*stack.descendants(), psutil.Process(stack.process.pid)]
        stack.stop()
        assert not alive(family), "prolu up left a process behind"


def small_demo_sweep() -> SweepSpec:
    document = parse((ROOT / "examples" / "demo.yaml").read_text())
    # The model reads the tokens of cross-entropy in every run, and the default is ten seconds of that.
    document["base"]["data"] |= {"tokens": 4_096, "eval_tokens": 512, "ce_tokens": 256}
    document["base"]["training"] |= {
        "steps": 240,
        "batch_size": 256,
        "lr_warmup_steps": 10,
        "lr_decay_steps": 20,
        "checkpoint_every_steps": 40,
    }
    document["variants"] = [document["variants"][0], document["variants"][-1]]
    document["base"]["sae"]["d_sae"] = (
        576  # half: a step is half the work, and 240 of them still last long enough to be struck
    )
    for variant in document["variants"]:
        variant["grid"] = {path: values[:1] for path, values in variant["grid"].items()}
    return validate(document, SweepSpec)


def finish(client: Client, sweep_id: UUID) -> list[RunSummary]:
    """Wait for the sweep, which must succeed as a whole, and return its runs by point."""
    client.sweeps.wait(sweep_id)
    runs = runs_of(client, sweep_id)
    assert [run.state for run in runs] == ["succeeded"] * 2
    return runs


def final_weights(client: Client, run_id: UUID) -> dict[str, str]:
    """sha256 of every tensor file of the run's final checkpoint."""
    final = [checkpoint for checkpoint in client.runs.checkpoints(run_id) if checkpoint.final]
    return {file.name: file.sha256 for file in final[-1].files if file.name.endswith(".safetensors")}


def runs_of(client: Client, sweep_id: UUID) -> list[RunSummary]:
    return sorted(client.sweeps.runs(sweep_id), key=lambda run: run.point or 0)


def training_somewhere(client: Client, sweep_id: UUID) -> RunSummary | None:
    """A run in the middle: past its first checkpoint, and not near its end."""
    return next(
        (run for run in runs_of(client, sweep_id) if run.state == "running" and 50 <= run.step < 150),
        None,
    )


def test_ctrl_c_loses_nothing_and_the_next_up_goes_on(tmp_path: Path):
    stack = Stack(tmp_path / "data")
    sweep = stack.client.sweeps.submit(small_demo_sweep())
    wait_for(lambda: training_somewhere(stack.client, sweep.id))
    family = [*stack.descendants(), psutil.Process(stack.process.pid)]
    assert stack.stop() < 30
    assert stack.process.returncode == 0
    assert not alive(family)

    stack = Stack(tmp_path / "data")
    try:
        runs = finish(stack.client, sweep.id)
        attempts = [attempt for run in runs for attempt in stack.client.runs.attempts(run.id)]
        ended_early = [attempt for attempt in attempts if attempt.outcome != "succeeded"]
        assert {attempt.outcome for attempt in ended_early} == {"preempted"}, "each was asked to write a checkpoint"
        resumed = [attempt.resumed_from_step for attempt in attempts if attempt.epoch == 2]
        assert resumed == [attempt.last_step or None for attempt in ended_early], "no step was trained twice"
    finally:
        stack.stop()


def test_killed_workers_and_a_killed_dispatcher_change_no_bit_of_any_weight(stack: Stack):
    client = stack.client
    undisturbed = client.sweeps.submit(small_demo_sweep())
    calm_runs = finish(client, undisturbed.id)

    disturbed = client.sweeps.submit(small_demo_sweep())
    victim = wait_for(lambda: training_somewhere(client, disturbed.id))
    assert stack.kill(lambda command: command.startswith("ray::TrainingActor"))
    wait_for(lambda: client.runs.get(victim.id).epoch > 1)
    wait_for(lambda: training_somewhere(client, disturbed.id))
    assert stack.kill(lambda command: command.endswith("-m workers") and "guardian" not in command) == 1
    for calm, shaken in zip(calm_runs, finish(client, disturbed.id), strict=True):
        assert final_weights(client, calm.id) == final_weights(client, shaken.id)
        assert calm.metrics == shaken.metrics
    attempts = client.runs.attempts(victim.id)
    assert [attempt.outcome for attempt in attempts] == ["lost", "succeeded"]
    assert (attempts[1].resumed_from_step or 0) >= 40


def test_a_second_up_on_the_same_data_directory_is_refused_by_name(stack: Stack):
    second = subprocess.run(
        [sys.executable, "-m", "prolu.client.cli", "up", "--port", "0"],
        env=os.environ | {"PROLU_DATA_DIR": str(stack.data_dir)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 2
    assert str(stack.process.pid) in second.stderr
