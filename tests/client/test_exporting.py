"""`prolu export` and `prolu download --format`: weights for other libraries, from the service and from a folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest
import safetensors.torch
import torch

from prolu.client import Client
from prolu.client.cli.app import BAD_INPUT, FAILED, OK
from prolu.client.errors import DownloadFailed
from prolu.models.sae import build_sae
from prolu.models.saved import CheckpointConfig
from prolu.spec.run import RunSpec
from tests.client.conftest import Prolu
from tests.client.desk import RUN, Desk, Running

CFG = b'{"architecture": "jumprelu"}'
BIASES = torch.linspace(-1, 0.5, 32)


@pytest.fixture
def run(client: Client, desk: Desk) -> UUID:
    """A run whose last checkpoint is real, with biases of both signs and an export."""
    found = client.runs.submit(RUN).id
    desk.claim()
    contents = checkpoint_files()
    desk.report(
        found,
        desk.checkpoint(found, 50, final=False, contents=contents),
        desk.checkpoint(found, 100, final=True, contents={**contents, "sae_lens/cfg.json": CFG}),
    )
    return found


def command(*arguments: str, cwd: Path, service: Running | None = None) -> tuple[int, str, str]:
    """Run `prolu` as a process, since the one that converts writes to the terminal itself."""
    known = {"PROLU_URL": service.url, "PROLU_TOKEN": service.token} if service else {"PROLU_URL": "http://127.0.0.1:9"}
    answer = subprocess.run(
        [sys.executable, "-m", "prolu.client.cli", *arguments],
        cwd=cwd,
        env={**os.environ, **known},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return answer.returncode, answer.stdout, answer.stderr


def checkpoint_files() -> dict[str, bytes]:
    spec = RunSpec.model_validate(RUN)
    sae = build_sae(spec.sae, 8, seed=1)
    weights = {**sae.state_dict(), "b_enc": BIASES}
    config = CheckpointConfig(spec=spec, d_in=8, step=100, tokens=1000, input_rms=None)
    return {"config.json": config.model_dump_json().encode(), "sae.safetensors": safetensors.torch.save(weights)}


def test_an_export_that_the_run_wrote_is_downloaded_as_its_library_reads_it(
    prolu: Prolu, client: Client, run: UUID, tmp_path: Path
) -> None:
    status, out, err = prolu("download", str(run), "--format", "sae_lens")
    assert (status, out) == (OK, "")
    assert "checksums good" in err
    folder = tmp_path / f"prolu-{str(run)[-8:]}-step-100-sae_lens"
    assert [(path.name, path.read_bytes()) for path in folder.iterdir()] == [("cfg.json", CFG)]
    earlier = min(client.runs.checkpoints(run), key=lambda checkpoint: checkpoint.step)
    with pytest.raises(DownloadFailed, match=r"has no sae_lens export.*`prolu export"):
        client.checkpoints.download(earlier, tmp_path / "none", layout="sae_lens")
    assert prolu("download", str(run), "none", "--step", "50", "--format", "sae_lens")[0] == FAILED
    assert not (tmp_path / "none").exists()


def test_a_checkpoint_of_the_service_is_converted_and_what_is_lost_is_said(
    service: Running, client: Client, run: UUID, tmp_path: Path
) -> None:
    earlier = min(client.runs.checkpoints(run), key=lambda checkpoint: checkpoint.step)
    target = tmp_path / "there"
    status, out, err = command("export", str(earlier.id), "--to", str(target), cwd=tmp_path, service=service)
    assert (status, out) == (OK, ""), err
    weights = safetensors.torch.load_file(target / "sae_weights.safetensors")
    assert torch.equal(weights["threshold"], (-BIASES).clamp(min=0))
    assert "of 32 biases are above 0" in err
    assert f'SAE.load_from_disk("{target}")' in err


def test_a_run_is_meant_by_its_last_checkpoint_or_that_of_a_step(prolu: Prolu, run: UUID) -> None:
    status, _, err = prolu("export", str(run), "--step", "51")
    assert status == BAD_INPUT
    assert "there are 50, 100" in err


def test_a_folder_is_converted_without_a_service_and_told_as_json(tmp_path: Path) -> None:
    folder = tmp_path / "step-100"
    folder.mkdir()
    for name, content in checkpoint_files().items():
        (folder / name).write_bytes(content)
    status, out, err = command("export", "step-100", "--json", "--format", "dictionary_learning", cwd=tmp_path)
    assert status == OK, err
    assert json.loads(out)["architecture"] == "JumpReluAutoEncoder"
    made = tmp_path / "step-100-dictionary_learning"
    assert sorted(path.name for path in made.iterdir()) == ["ae.pt", "config.json"]


def test_without_torch_the_command_says_what_to_install(prolu: Prolu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    status, _, err = prolu("export", "last")
    assert status == BAD_INPUT
    assert "needs torch" in err
