"""The real SAELens and dictionary_learning, in a process of their own environment, which runs once for all tests."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import safetensors.torch

from prolu.export import write_exports
from tests.export.cases import CASES, GATED_KINDS, Case, boundary_case, make_case

ROOT = Path(__file__).parents[2]
PEERS = ROOT / ".venv-peers"


@dataclass(frozen=True)
class Tried:
    """What the peers' process has read and written."""

    cases: dict[str, Case]
    """By name; `boundary-{kind}` are those with inputs on the gates."""
    exports: Path
    """One folder for each case."""
    made: Path
    """Checkpoints that SAELens made."""


@pytest.fixture(scope="session")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Tried:
    """Every case exported, and loaded by the real libraries."""
    if not (PEERS / "installed").exists():
        pytest.fail(
            "The exports are tried with the real SAELens, whose environment .venv-peers is missing: `make peers`."
        )
    cases = {name: make_case(name) for name in CASES}
    cases |= {f"boundary-{kind}": boundary_case(kind) for kind in GATED_KINDS}
    folder = tmp_path_factory.mktemp("peers")
    for name, case in cases.items():
        target = folder / "exports" / name
        target.mkdir(parents=True)
        write_exports(case.sae, case.config, target, ["sae_lens", "dictionary_learning"])
        # dictionary_learning has no normalisation per token: there, it is the caller's.
        per_token = case.config.spec.data.normalisation == "per_token"
        scaled = case.normaliser.normalise(case.x) if per_token else case.x
        inputs = {"raw": case.x, "for_dictionary_learning": scaled.clone()}
        safetensors.torch.save_file(inputs, target / "inputs.safetensors")
    (folder / "made").mkdir()
    program = Path(__file__).with_name("peer_process.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "WANDB_MODE": "disabled"}
    answer = subprocess.run(
        [PEERS / "bin" / "python", program, folder],
        capture_output=True,
        text=True,
        timeout=280,
        env=environment,
        cwd=folder,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr[-4000:]
    return Tried(cases, folder / "exports", folder / "made")
