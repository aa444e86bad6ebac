"""Checkpoints pushed to a stand-in for the hub by the hub's own client, and loaded from there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import huggingface_hub
import pytest
import torch
import yaml
from huggingface_hub import constants

from prolu.client import Client, DownloadFailed
from prolu.client.cli.app import FAILED, OK
from prolu.client.hub import PushFailed
from prolu.models.saved import load_sae
from prolu.spec.report import Succeeded
from tests.client.conftest import Prolu
from tests.client.desk import RUN, Desk, Running
from tests.client.hub.stand_in import TOKEN, Hub, running_hub
from tests.client.test_exporting import BIASES, CFG, checkpoint_files

# Of huggingface_hub, about its own way of sending large files.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload raw bytes:DeprecationWarning")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub, which the client of this process speaks to; its settings are read when it is imported."""
    with running_hub() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield hub
        huggingface_hub.close_session()


@pytest.fixture
def run(client: Client, desk: Desk) -> UUID:
    """A run that has succeeded, with real weights and an export."""
    found = client.runs.submit({**RUN, "name": "one | `of` ours"}).id
    desk.claim()
    contents = {**checkpoint_files(), "training.safetensors": b"optimizer", "sae_lens/cfg.json": CFG}
    desk.report(
        found,
        desk.checkpoint(found, 100, final=True, contents=contents),
        Succeeded(step=100, metrics={"l0": 8.0, "fvu": 0.25}),
    )
    return found


def test_weights_and_a_card_arrive_in_one_commit_and_load_from_there(
    client: Client, hub: Hub, run: UUID, tmp_path: Path
) -> None:
    pushed = client.checkpoints.push(run, "lab/sae", private=True)
    repository = hub.repositories["lab/sae"]
    assert repository.private
    assert (pushed.url, pushed.commit, len(repository.commits)) == (f"{hub.url}/lab/sae", repository.commits[-1], 2)
    assert sorted(repository.files) == ["README.md", "config.json", "manifest.json", "sae.safetensors"]
    assert sorted(pushed.files) == sorted(repository.files)
    assert repository.files["sae.safetensors"] == checkpoint_files()["sae.safetensors"]
    sae = load_sae(huggingface_hub.snapshot_download("lab/sae", local_dir=tmp_path / "there"))
    assert torch.equal(sae.b_enc, BIASES)


def test_the_card_tells_the_hub_and_people_what_it_is(client: Client, hub: Hub, run: UUID) -> None:
    client.checkpoints.push(run, "lab/sae")
    card = hub.repositories["lab/sae"].files["README.md"].decode()
    _, front, text = card.split("---\n", 2)
    assert yaml.safe_load(front) == {
        "library_name": "prolu",
        "tags": ["sparse-autoencoder", "prolu", "mechanistic-interpretability", "sae-prolu"],
    }
    assert "# one / 'of' ours\n" in text
    assert "| fvu | 0.25 |\n| l0 | 8 |\n" in text
    assert 'sae = load_sae(snapshot_download("lab/sae"))' in text
    spec = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])
    assert spec == client.runs.get(run).spec.model_dump(mode="json")


def test_other_libraries_files_go_into_a_folder_and_the_first_card_of_the_repository_stays(
    client: Client, hub: Hub, run: UUID
) -> None:
    client.checkpoints.push(run, "lab/saes", layout="sae_lens", path="block-6")
    client.checkpoints.push(run, "lab/saes", path="block-7")
    files = hub.repositories["lab/saes"].files
    assert files["block-6/cfg.json"] == CFG
    assert files["README.md"] == files["block-6/README.md"] != files["block-7/README.md"]
    assert b"library_name: saelens" in files["README.md"]
    assert b'SAE.load_from_disk(snapshot_download("lab/saes") + "/block-6")' in files["README.md"]


def test_a_second_push_of_the_same_changes_nothing(client: Client, hub: Hub, run: UUID) -> None:
    first = client.checkpoints.push(run, "lab/sae")
    again = client.checkpoints.push(run, "lab/sae")
    assert again.commit == first.commit
    assert len(hub.repositories["lab/sae"].commits) == 2


def test_what_did_not_come_whole_from_the_service_is_not_pushed(
    client: Client, hub: Hub, run: UUID, desk: Desk
) -> None:
    (weights,) = (desk.artifacts / f"runs/{run}").rglob("sae.safetensors")
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\0")
    with pytest.raises(DownloadFailed):
        client.checkpoints.push(run, "lab/sae")
    assert hub.requests == []


def test_a_hub_that_takes_no_large_file_gets_no_commit(client: Client, hub: Hub, run: UUID) -> None:
    hub.refuses_large_files = True
    with pytest.raises(PushFailed, match=r"Nothing was pushed to lab/sae: .*No space left"):
        client.checkpoints.push(run, "lab/sae")
    assert hub.repositories["lab/sae"].files == {}


def test_a_hub_that_holds_something_else_is_found_out(client: Client, hub: Hub, run: UUID) -> None:
    hub.tells_other_checksums = True
    with pytest.raises(PushFailed, match=r"has the checksum 0+, sent was [0-9a-f]{40}; delete it there and push again"):
        client.checkpoints.push(run, "lab/sae")


@pytest.mark.parametrize(
    ("repository", "path", "error"),
    [("no such/name", "", PushFailed), ("lab/sae", "../out", DownloadFailed), ("lab/sae", "/etc", DownloadFailed)],
)
def test_names_that_cannot_be_are_refused_before_anything_is_asked(
    client: Client, hub: Hub, run: UUID, repository: str, path: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        client.checkpoints.push(run, repository, path=path)
    assert hub.requests == []


def test_a_token_that_is_not_good_is_told(prolu: Prolu, hub: Hub, run: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    status, _, err = prolu("push", str(run), "lab/sae")
    assert status == FAILED
    assert err.startswith("prolu: Nothing was pushed to lab/sae: ")
    assert "401" in err
    assert "hf_wrong" not in err


def test_the_command_takes_address_and_token_from_the_environment(
    service: Running, hub: Hub, run: UUID, tmp_path: Path
) -> None:
    ours = {"PROLU_URL": service.url, "PROLU_TOKEN": service.token, "HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN}
    quiet = {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HOME": str(tmp_path)}
    words = ["push", str(run), "lab/sae", "--message", "the best of them", "--private", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "prolu.client.cli", *words],
        env={**os.environ, **ours, **quiet},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (OK, "")
    assert json.loads(done.stdout)["commit"] == hub.repositories["lab/sae"].commits[-1]
    assert hub.repositories["lab/sae"].messages == ["the best of them"]
    assert hub.repositories["lab/sae"].private
