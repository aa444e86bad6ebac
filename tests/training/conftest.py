"""A small run on synthetic activations, and a place for its checkpoints."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from prolu.data.synthetic import SyntheticSource
from prolu.spec.data import SyntheticData
from prolu.spec.run import RunSpec
from prolu.training import CheckpointStore

DATA = SyntheticData(d_in=16, n_features=24, active_features=3.0, eval_samples=500)

# Every interval differs, so that what is due at one step is not due at another.
DOCUMENT: dict[str, Any] = {
    "data": DATA.model_dump(),
    "sae": {"kind": "prolu", "d_sae": 40},
    "sparsity": {"kind": "l1", "coefficient": 0.01},
    "training": {
        "steps": 40,
        "batch_size": 32,
        "optimizer": {"kind": "adam", "learning_rate": 0.01},
        "lr_warmup_steps": 10,
        "lr_decay_steps": 12,
        "dead_window_tokens": 200,
        "metrics_every_steps": 3,
        "evaluate_every_steps": 15,
        "bias_snapshot_every_steps": 8,
        "checkpoint_every_steps": 10,
    },
}

torch.set_num_threads(1)

SpecMaker = Callable[..., RunSpec]


@pytest.fixture
def make_spec() -> SpecMaker:
    """A function that makes the small run with some parts changed: `make_spec(training={"steps": 3})`."""

    def make(**parts: dict[str, Any]) -> RunSpec:
        document = {name: dict(part) for name, part in DOCUMENT.items()}
        for name, changes in parts.items():
            document[name] = changes if "kind" in changes else document[name] | changes
        return RunSpec.model_validate(document)

    return make


@pytest.fixture(scope="session")
def source() -> SyntheticSource:
    """The activations of the small run."""
    return SyntheticSource(DATA)


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    """Checkpoints in a folder of the test's own."""
    return CheckpointStore(str(tmp_path), "runs/a/e1")
