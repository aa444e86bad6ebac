"""A run that two ranks train in two processes ends as that of one worker: weights, statistics and metrics, in every kind.

How near "as" is: the ranks add up the same float32 numbers in another order, so gradients differ by about 1e-7 of their terms,
and Adam divides by their size; over the few steps of these runs that stays below 1e-4 of a tensor's scale, for weights, moments
and counters alike. What is not exchanged shows in those that it belongs to: counts by halves, the controller's lambda from
1e-4 on. Muon rounds to bfloat16 on the way, 4e-3 at a time, and precision bfloat16 does too.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from pydantic import TypeAdapter

from prolu.data.synthetic import SyntheticSource
from prolu.spec import RunSpec
from prolu.spec.data import SyntheticData
from prolu.spec.report import BiasSnapshot, CheckpointWritten, MetricPoint, Report, Stopped, Succeeded
from prolu.training import CheckpointStore
from tests.training.running import run

REPORT: TypeAdapter[Report] = TypeAdapter(Report)
# The stop comes with the report of a step.
STEPS, STOP_AT = 12, 6

DATA = {"kind": "synthetic", "d_in": 12, "n_features": 18, "active_features": 3.0, "eval_samples": 40}
L1 = {"kind": "l1", "coefficient": 0.5, "warmup_steps": 5}
NONE = {"kind": "none"}
CONTROLLED = {"controller": {"target_l0": 3.0, "rate": 0.1, "pause_steps": 2}}
RESAMPLING = {"resampling": {"every_steps": 4, "samples": 40, "lr_warmup_steps": 3}}
TOPK = {"k": 3, "aux_k": 4}
SAES: dict[str, dict[str, Any]] = {
    "relu": {"kind": "relu"},
    "prolu": {"kind": "prolu", "b_dec_init": "geometric_median"},
    "prolu_hybrid": {"kind": "prolu_hybrid", "b_dec_init": "mean"},
    "jumprelu": {"kind": "jumprelu", "bandwidth": 0.5},
    "gated": {"kind": "gated"},
}
PENALTIES: dict[str, dict[str, Any]] = {
    "l1": L1,
    "sqrt_l1": {**L1, "kind": "sqrt_l1", "coefficient": 0.01},
    "l1_decoder_norm": {**L1, **CONTROLLED, "kind": "l1_decoder_norm"},
    "tanh": {**L1, "kind": "tanh"},
}
# Every kind and every penalty once or more. Each adds terms of its own to the gradients that are exchanged, so that a pair
# tells nothing that its two do not tell in other company.
PAIRS = (
    ("relu", "l1"),
    ("prolu", "sqrt_l1"),
    ("prolu_hybrid", "l1_decoder_norm"),
    ("jumprelu", "tanh"),
    ("gated", "l1_decoder_norm"),
)
# name: (sae, sparsity, training)
TABLE: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    **{f"{sae}, {penalty}": (SAES[sae], PENALTIES[penalty], {}) for sae, penalty in PAIRS},
    "jumprelu, l0": (SAES["jumprelu"], {**L1, **CONTROLLED, "kind": "l0"}, RESAMPLING),
    "topk": ({"kind": "topk", **TOPK}, NONE, RESAMPLING),
    "batch_topk": ({"kind": "batch_topk", **TOPK}, NONE, RESAMPLING),
    "matryoshka": ({"kind": "matryoshka_batch_topk", "prefixes": [5, 12, 20], **TOPK}, NONE, {}),
    "resampled": (SAES["relu"], L1, RESAMPLING),
    "free decoder": ({"kind": "relu", "decoder_norm": "free"}, {**L1, "kind": "tanh"}, {"reconstruction": "sum"}),
    "clipped": (SAES["prolu"], L1, {"gradient_clip_norm": 0.05, "optimizer": {"kind": "adamw", "learning_rate": 0.01}}),
    "radam": (SAES["gated"], L1, {"optimizer": {"kind": "radam", "learning_rate": 0.01}}),
    "muon": (SAES["relu"], L1, {"optimizer": {"kind": "muon", "learning_rate": 0.01}}),
    "bfloat16": ({"kind": "batch_topk", **TOPK}, NONE, {"precision": "bfloat16"}),
}
ROUGH = {"muon": 1e-2, "bfloat16": 1e-2}


def spec_of(case: str, ranks: int) -> RunSpec:
    sae, sparsity, training = TABLE[case]
    every = {
        "steps": STEPS,
        "batch_size": 16,
        "optimizer": {"kind": "adam", "learning_rate": 0.01},
        "lr_warmup_steps": 4,
        "dead_window_tokens": 100,
        "metrics_every_steps": 3,
        "evaluate_every_steps": 8,
        "bias_snapshot_every_steps": 4,
    }
    return RunSpec.model_validate(
        {
            "data": DATA,
            "sae": {"d_sae": 20, **sae},
            "sparsity": sparsity,
            "training": every | training,
            "resources": {"ranks": ranks},
        }
    )


@pytest.fixture(scope="module")
def gangs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which two processes have trained every case to the end, and once more with a stop and a resume."""
    folder = tmp_path_factory.mktemp("gang")
    orders = [{"case": case, "spec": spec_of(case, 2).model_dump(mode="json")} for case in TABLE]
    order_file = folder / "orders.json"
    order_file.write_text(json.dumps({"folder": str(folder), "stop_at": STOP_AT, "orders": orders}))
    command = [sys.executable, str(Path(__file__).with_name("rank_process.py")), str(order_file)]
    leader = subprocess.Popen([*command, "0"], stderr=subprocess.PIPE, text=True)
    other = subprocess.Popen([*command, "1"], stderr=subprocess.PIPE, text=True)
    for process in (leader, other):
        _, errors = process.communicate(timeout=200)
        assert process.returncode == 0, errors
    return folder


@pytest.fixture
def alone(case: str, tmp_path: Path) -> tuple[dict[str, torch.Tensor], list[Report]]:
    """The state in which one worker ends, and what it reports."""
    outcome, reports = run(
        spec_of(case, 1),
        SyntheticSource(SyntheticData.model_validate(DATA)),
        CheckpointStore(str(tmp_path), "alone"),
    )
    assert isinstance(outcome, Succeeded)
    return state_in(tmp_path / f"alone/step-{STEPS}"), reports


def state_in(folder: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(folder / "sae.safetensors") | safetensors.torch.load_file(
        folder / "training.safetensors"
    )


def reports_in(file: Path) -> list[Report]:
    return [REPORT.validate_json(line) for line in file.read_text().splitlines()]


@pytest.mark.parametrize("case", TABLE)
def test_two_ranks_end_as_one_worker(
    case: str, gangs: Path, alone: tuple[dict[str, torch.Tensor], list[Report]]
) -> None:
    tolerance = ROUGH.get(case, 1e-4)
    state, reports = alone
    shared = state_in(gangs / case / f"whole/step-{STEPS}")
    assert shared.keys() == state.keys()
    for name, expected in state.items():
        scale = expected.double().abs().max().clamp(min=1e-3)
        off = ((shared[name].double() - expected.double()).abs().max() / scale).item()
        assert off < tolerance, f"{name} is off by {off:.1e} of its scale"
    said = reports_in(gangs / case / "whole-0.jsonl")
    assert [type(report) for report in kept(said)] == [type(report) for report in kept(reports)]
    for ours, theirs in zip(kept(said), kept(reports), strict=True):
        if isinstance(ours, BiasSnapshot) and case in ROUGH:
            continue  # a bias may be in the next bin
        # Rows of norm 1 lie on both sides of it by rounding, so that their histogram says nothing.
        unsure = {"statistics": {"bias_by_decoder_norm"}} if isinstance(ours, BiasSnapshot) else {}
        near(ours.model_dump(exclude=unsure), theirs.model_dump(exclude=unsure), tolerance)


@pytest.mark.parametrize("case", TABLE)
def test_two_ranks_that_stop_and_resume_end_bit_identical_to_two_that_did_not(case: str, gangs: Path) -> None:
    folder = gangs / case
    for rank in (0, 1):
        (stopped,) = [report for report in reports_in(folder / f"before-{rank}.jsonl") if isinstance(report, Stopped)]
        assert (stopped.step, stopped.reason) == (STOP_AT, "pause")
    for file in ("sae.safetensors", "training.safetensors"):
        whole = (folder / f"whole/step-{STEPS}" / file).read_bytes()
        assert (folder / f"after/step-{STEPS}" / file).read_bytes() == whole


@pytest.mark.parametrize("case", TABLE)
def test_only_the_leader_reports_and_saves(case: str, gangs: Path) -> None:
    (outcome,) = reports_in(gangs / case / "whole-1.jsonl")
    assert outcome == Succeeded(step=STEPS, metrics={})
    written = [r for r in reports_in(gangs / case / "whole-0.jsonl") if isinstance(r, CheckpointWritten)]
    assert [report.step for report in written] == [STEPS]


def kept(reports: list[Report]) -> list[Report]:
    return [report for report in reports if isinstance(report, MetricPoint | BiasSnapshot)]


def near(ours: Any, theirs: Any, tolerance: float, path: str = "") -> None:
    """Compare nested reports: numbers within the tolerance, and all else equal."""
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys(), path
        for key in theirs:
            near(ours[key], theirs[key], tolerance, f"{path}.{key}")
    elif isinstance(theirs, list | tuple):
        assert len(ours) == len(theirs), path
        for place, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            near(one, other, tolerance, f"{path}[{place}]")
    elif isinstance(theirs, float):
        assert ours == pytest.approx(theirs, rel=10 * tolerance, abs=10 * tolerance), path
    else:
        assert ours == theirs, path
