"""What a run reported of its biases can be had again from its checkpoints alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from prolu.analysis.recompute import recompute_bias_statistics
from prolu.data.synthetic import SyntheticSource
from prolu.models.saved import MANIFEST, TRAINING, CheckpointError
from prolu.spec.report import BiasSnapshot, CheckpointWritten, Report
from prolu.spec.run import RunSpec
from prolu.training import CheckpointStore, train

L1 = {"kind": "l1", "coefficient": 0.02}
KINDS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"kind": "prolu", "d_sae": 40}, L1),
    ({"kind": "jumprelu", "d_sae": 40, "decoder_norm": "free"}, {"kind": "l0", "coefficient": 0.02}),
    ({"kind": "gated", "d_sae": 40}, L1),
    ({"kind": "batch_topk", "d_sae": 40, "k": 3}, {"kind": "none"}),
]


def spec_of(sae: dict[str, Any], sparsity: dict[str, Any], **training: Any) -> RunSpec:
    """Ten steps, so that the last snapshot, the last checkpoint and the dead window fall together or apart."""
    steps = {
        "steps": 10,
        "batch_size": 16,
        "dead_window_tokens": 64,
        "optimizer": {"kind": "adam", "learning_rate": 0.02},
    }
    return RunSpec.model_validate(
        {
            "data": {"kind": "synthetic", "d_in": 8, "n_features": 24, "active_features": 2.0, "eval_samples": 32},
            "sae": sae,
            "sparsity": sparsity,
            "training": steps | training,
        }
    )


def trained(spec: RunSpec, root: Path) -> list[Report]:
    reports: list[Report] = []
    assert spec.data.kind == "synthetic"
    source, store = SyntheticSource(spec.data), CheckpointStore(str(root), "run")
    train(spec, source, checkpoints=store, sink=reports.append, should_stop=lambda: None)
    return reports


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], tuple[Path, list[Report]]]:
    """A function that trains a kind once and returns its folder and reports."""
    done: dict[int, tuple[Path, list[Report]]] = {}

    def once(kind: int) -> tuple[Path, list[Report]]:
        if kind not in done:
            root = tmp_path_factory.mktemp("runs")
            spec = spec_of(*KINDS[kind], bias_snapshot_every_steps=2, checkpoint_every_steps=4)
            done[kind] = root, trained(spec, root)
        return done[kind]

    return once


@pytest.mark.parametrize("kind", range(len(KINDS)), ids=[sae["kind"] for sae, _ in KINDS])
def test_every_checkpoint_tells_what_the_run_reported_at_its_step(
    run: Callable[[int], tuple[Path, list[Report]]], kind: int
) -> None:
    root, reports = run(kind)
    told = {report.step: report for report in reports if isinstance(report, BiasSnapshot)}
    checkpoints = [report for report in reports if isinstance(report, CheckpointWritten)]
    assert [checkpoint.step for checkpoint in checkpoints] == [4, 8, 10]
    for checkpoint in checkpoints:
        found = recompute_bias_statistics(root / checkpoint.path)
        assert found == told[checkpoint.step]
        assert found.statistics.change is not None
        assert found.statistics.change.since_step == checkpoint.step - 2
        assert found.statistics.density is not None


def test_between_two_snapshots_the_change_is_since_the_newest(tmp_path: Path) -> None:
    spec = spec_of(*KINDS[0], bias_snapshot_every_steps=3, checkpoint_every_steps=5)
    trained(spec, tmp_path)
    change = recompute_bias_statistics(tmp_path / "run" / "step-5").statistics.change
    assert change is not None
    assert change.since_step == 3


def test_a_checkpoint_without_the_state_of_training_is_refused(
    run: Callable[[int], tuple[Path, list[Report]]], tmp_path: Path
) -> None:
    root, _ = run(0)
    source = root / "run" / "step-10"
    for name in ("config.json", "sae.safetensors"):
        (tmp_path / name).write_bytes((source / name).read_bytes())
    with pytest.raises(CheckpointError, match=f"has no {TRAINING}"):
        recompute_bias_statistics(tmp_path)
    safetensors.torch.save_file({"tokens_since_fired": torch.zeros(40, dtype=torch.int64)}, tmp_path / TRAINING)
    with pytest.raises(CheckpointError, match="holds firing_frequency nothing"):
        recompute_bias_statistics(tmp_path)


def test_an_altered_checkpoint_is_refused(run: Callable[[int], tuple[Path, list[Report]]], tmp_path: Path) -> None:
    root, _ = run(0)
    for file in (root / "run" / "step-10").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert (tmp_path / MANIFEST).exists()
    content = (tmp_path / TRAINING).read_bytes()
    (tmp_path / TRAINING).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(CheckpointError, match="was altered"):
        recompute_bias_statistics(tmp_path)


def test_a_state_of_training_beyond_its_manifest_is_refused_and_not_read(
    run: Callable[[int], tuple[Path, list[Report]]], tmp_path: Path
) -> None:
    root, _ = run(0)
    for file in (root / "run" / "step-10").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    with (tmp_path / TRAINING).open("r+b") as grown:
        grown.truncate(2**40)
    with pytest.raises(CheckpointError, match=rf"{TRAINING} has {2**40} bytes, its manifest says \d+"):
        recompute_bias_statistics(tmp_path)
