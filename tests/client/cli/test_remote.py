"""Exports and statistics that the service makes: waited for, downloaded and verified, without torch on this side."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
import safetensors.torch

from prolu.client import ChoreFailed, Client, NotFound, WaitedTooLong
from prolu.client.cli.app import BAD_INPUT, OK
from prolu.client.errors import DownloadFailed
from service.store import chore_work
from tests.client.conftest import Prolu
from tests.client.desk import Desk, Running
from tests.offline.conftest import DOCUMENT, Run
from workers.chore import do
from workers.messages import ChoreOrder


def do_chores(desk: Desk) -> None:
    """What the dispatcher and its workers would do."""
    with desk.database.begin() as session:
        taken = chore_work.take(session, "desk", at_once=9)
    for chore in taken:
        order = ChoreOrder(chore.kind, chore.format, str(desk.artifacts), chore.checkpoint, chore.target)
        answer = do(order)
        with desk.database.begin() as session:
            if answer.outcome == "done":
                assert chore_work.succeed(session, chore, json.loads(answer.told))
            else:
                assert chore_work.fail(session, chore, answer.told)


@pytest.fixture
def waiting(service: Running, desk: Desk) -> Iterator[Client]:
    """A client in whose pauses the work is done."""
    with Client(service.url, service.token, sleep=lambda _seconds: do_chores(desk)) as client:
        yield client


def test_an_export_is_waited_for_downloaded_and_verified(
    waiting: Client, client: Client, served: UUID, desk: Desk, tmp_path: Path
) -> None:
    checkpoint = client.checkpoints.find(served)
    seen: list[str] = []
    made = waiting.checkpoints.export(checkpoint, tmp_path / "out", on_look=lambda chore: seen.append(chore.state))
    assert (made.state, seen) == ("succeeded", ["queued"])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["cfg.json", "sae_weights.safetensors"]
    weights = safetensors.torch.load_file(tmp_path / "out/sae_weights.safetensors")
    assert weights["W_dec"].shape[0] == DOCUMENT["sae"]["d_sae"]
    again = client.checkpoints.export(checkpoint.id, tmp_path / "again")
    assert again.id == made.id, "what is made is downloaded at once"
    with pytest.raises(DownloadFailed, match="exists already"):
        client.checkpoints.export(checkpoint.id, tmp_path / "out")
    (altered,) = desk.artifacts.glob("exports/*/*/sae_lens/cfg.json")
    altered.write_bytes(altered.read_bytes().replace(b"none", b"zero"))
    with pytest.raises(DownloadFailed, match="announced were"):
        client.checkpoints.export(checkpoint.id, tmp_path / "altered")
    assert not (tmp_path / "altered").exists()


def test_statistics_computed_again_are_those_that_the_run_reported(waiting: Client, served: UUID, trained: Run) -> None:
    snapshot = waiting.checkpoints.recompute(waiting.checkpoints.find(served))
    assert (snapshot.run_id, snapshot.step) == (served, trained.snapshot.step)
    assert snapshot.statistics == trained.snapshot.statistics


def test_a_failure_and_too_long_a_wait_are_told_with_their_reason(
    waiting: Client, client: Client, served: UUID, desk: Desk, tmp_path: Path
) -> None:
    checkpoint = client.checkpoints.find(served)
    with pytest.raises(WaitedTooLong, match=r"is queued after 0 s\. It waits for a dispatcher"):
        client.checkpoints.export(checkpoint, tmp_path / "out", timeout=0)
    (weights,) = desk.artifacts.glob(f"runs/{served}/**/sae.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ChoreFailed, match=r"failed: .*its manifest says"):
        waiting.checkpoints.export(checkpoint, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(NotFound):
        client.chores.get(served)


def test_the_commands_have_it_done_there_and_need_no_torch_here(
    prolu: Prolu,
    client: Client,
    desk: Desk,
    served: UUID,
    trained: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checkpoint = client.checkpoints.find(served)
    client.chores.export(checkpoint.id, layout="dictionary_learning")
    client.chores.recompute(checkpoint.id)
    do_chores(desk)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    status, out, err = prolu("export", str(served), "--remote", "--format", "dictionary_learning", "--json")
    assert status == OK, err
    assert json.loads(out)["format"] == "dictionary_learning"
    (folder,) = tmp_path.glob("prolu-*-dictionary_learning")
    assert f'load_dictionary("{folder.name}", "cpu")' in err
    status, out, _ = prolu("biases", str(served), "--recompute", "--remote", "--json")
    assert status == OK
    assert json.loads(out)["statistics"] == json.loads(trained.snapshot.statistics.model_dump_json())
    status, out, _ = prolu("biases", str(served), "--recompute", "--remote")
    assert (status, "at step 12" in out) == (OK, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["export", "folder", "--remote"], "is a folder"),
        (["biases", "folder", "--recompute", "--remote"], "is a folder"),
        (["biases", "--remote"], "add --recompute"),
    ],
)
def test_what_the_service_cannot_do_is_said(prolu: Prolu, tmp_path: Path, arguments: list[str], said: str) -> None:
    (tmp_path / "folder").mkdir()
    status, _, err = prolu(*arguments)
    assert (status, said in err) == (BAD_INPUT, True)
