"""A run that is stopped anywhere and resumed in a new process ends as if nothing had happened, bit by bit."""

import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from prolu.data.synthetic import SyntheticSource
from prolu.spec.report import Failed, Progress, Report, Stopped, Succeeded
from prolu.spec.run import RunSpec
from prolu.training import CheckpointStore, train

SpecMaker = Callable[..., RunSpec]
REPORT: TypeAdapter[Report] = TypeAdapter(Report)

# Resumes a run as a worker would: spec, root and checkpoint are all that it is given.
RESUME = """
import sys, torch
from prolu.data.synthetic import SyntheticSource
from prolu.spec.run import RunSpec
from prolu.training import CheckpointStore, train

torch.set_num_threads(1)
spec = RunSpec.model_validate_json(sys.stdin.read())
root, resume_from = sys.argv[1:]
say = lambda report: print(report.model_dump_json())
say(train(
    spec, SyntheticSource(spec.data), checkpoints=CheckpointStore(root, "runs/a/e2"),
    sink=say, should_stop=lambda: None, resume_from=resume_from,
))
"""


def resume_in_a_new_process(spec: RunSpec, root: Path, resume_from: str) -> list[Report]:
    done = subprocess.run(
        [sys.executable, "-c", RESUME, str(root), resume_from],
        input=spec.model_dump_json(),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return [REPORT.validate_json(line) for line in done.stdout.splitlines()]


def comparable(reports: list[Report]) -> list[str]:
    """Reports as text, without progress, which depends on the clock, and without the attempt's own folder."""
    return [
        report.model_dump_json().replace("runs/a/e2/", "runs/a/e1/")
        for report in reports
        if not isinstance(report, Progress)
    ]


@pytest.mark.parametrize(
    ("sae", "sparsity"),
    [
        ({"kind": "prolu", "d_sae": 40}, {"kind": "l1", "coefficient": 0.01, "warmup_steps": 30}),
        ({"kind": "relu", "d_sae": 40, "decoder_norm": "free"}, {"kind": "sqrt_l1", "coefficient": 0.001}),
    ],
)
def test_a_run_stopped_at_a_random_step_and_resumed_in_a_new_process_ends_bit_identical(
    make_spec: SpecMaker, tmp_path: Path, sae: dict[str, object], sparsity: dict[str, object]
) -> None:
    spec = make_spec(sae=sae, sparsity=sparsity)
    source = SyntheticSource(spec.data)
    stop_step = random.randrange(1, 40)  # noqa: S311  any step will do; a failure names it

    undisturbed: list[Report] = []
    outcome = train(
        spec,
        source,
        checkpoints=CheckpointStore(str(tmp_path / "undisturbed"), "runs/a/e1"),
        sink=undisturbed.append,
        should_stop=lambda: None,
    )
    assert isinstance(outcome, Succeeded)
    asked = iter(range(stop_step + 1))
    stopped: Stopped | Failed | Succeeded = train(
        spec,
        source,
        checkpoints=CheckpointStore(str(tmp_path / "stopped"), "runs/a/e1"),
        sink=lambda _report: None,
        should_stop=lambda: "preempt" if next(asked) == stop_step else None,
    )
    assert stopped == Stopped(step=stop_step, reason="preempt")
    resumed = resume_in_a_new_process(spec, tmp_path / "stopped", f"runs/a/e1/step-{stop_step}")

    expected = [report for report in undisturbed if isinstance(report, Progress) or report.step > stop_step]
    assert comparable(resumed) == comparable([*expected, outcome]), f"stopped at step {stop_step}"
    for name in ("sae.safetensors", "training.safetensors", "config.json", "manifest.json"):
        whole = (tmp_path / "undisturbed/runs/a/e1/step-40" / name).read_bytes()
        pieced = (tmp_path / "stopped/runs/a/e2/step-40" / name).read_bytes()
        assert pieced == whole, f"{name} differs after a stop at step {stop_step}"
