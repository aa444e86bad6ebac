"""A short run with its checkpoints, trained once for all commands that read them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from prolu.data.synthetic import SyntheticSource
from prolu.spec.data import SyntheticData
from prolu.spec.report import BiasSnapshot, DiagnosticsMeasured, Report, Succeeded
from prolu.spec.run import RunSpec
from prolu.training import CheckpointStore, train

DOCUMENT: dict[str, Any] = {
    # dataset_rms, so that a checkpoint must remember a scale that held-out data alone would not give.
    "data": {"kind": "synthetic", "d_in": 8, "n_features": 24, "eval_samples": 300, "normalisation": "dataset_rms"},
    "sae": {"kind": "prolu", "d_sae": 40},
    "sparsity": {"kind": "l1", "coefficient": 0.02, "controller": {"target_l0": 4.0, "rate": 0.1}},
    "training": {
        "steps": 12,
        "batch_size": 16,
        "dead_window_tokens": 64,
        "gradient_alignment": {"estimators": [{"kind": "ste"}], "bandwidths": [0.1], "batches": 2, "batch_size": 64},
    },
}


@dataclass(frozen=True)
class Run:
    """What a run left behind."""

    spec: RunSpec
    folder: str
    """Of its final checkpoint."""
    snapshot: BiasSnapshot
    """The last one."""
    diagnostics: DiagnosticsMeasured | None
    """Where its estimators pointed at the end, if it asked for that."""
    end: Succeeded
    """How it ended, with its held-out metrics."""


def train_run(root: Path, document: dict[str, Any]) -> Run:
    """Train a run on synthetic data into `root`."""
    spec = RunSpec.model_validate(document)
    assert isinstance(spec.data, SyntheticData)
    reports: list[Report] = []
    store = CheckpointStore(str(root), "run")
    end = train(spec, SyntheticSource(spec.data), checkpoints=store, sink=reports.append, should_stop=lambda: None)
    assert isinstance(end, Succeeded)
    snapshots = [report for report in reports if isinstance(report, BiasSnapshot)]
    diagnostics = next((report for report in reports if isinstance(report, DiagnosticsMeasured)), None)
    return Run(spec, str(root / "run" / f"step-{end.step}"), snapshots[-1], diagnostics, end)


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run that DOCUMENT describes."""
    return train_run(tmp_path_factory.mktemp("offline"), DOCUMENT)
