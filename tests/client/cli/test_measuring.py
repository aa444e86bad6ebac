"""`prolu evaluate`, `align` and `biases --recompute`: checkpoints are fetched if need be and measured by a child process."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID

import pytest

from prolu.client import Client
from prolu.client.cli.app import BAD_INPUT, NOT_YOURS, OK
from tests.client.conftest import Prolu
from tests.client.desk import RUN
from tests.offline.conftest import Run


def test_a_run_of_the_service_is_evaluated_as_it_was_at_its_end(
    prolu: Prolu, served: UUID, trained: Run, tmp_path: Path
) -> None:
    status, out, _ = prolu("evaluate", str(served), "--json")
    assert status == OK
    metrics = json.loads(out)["metrics"]
    assert metrics["l0"] == pytest.approx(trained.end.metrics["l0"])
    assert metrics["fvu"] == pytest.approx(trained.end.metrics["fvu"])
    assert list(tmp_path.iterdir()) == [], "what was fetched is gone"


def test_a_folder_is_aligned_without_a_service(prolu: Prolu, monkeypatch: pytest.MonkeyPatch, trained: Run) -> None:
    monkeypatch.setenv("PROLU_URL", "http://127.0.0.1:9")
    options = ["--estimators", "ste,relu_like", "--bandwidths", "0.1", "--batches", "2"]
    status, out, _ = prolu("align", trained.folder, *options)
    assert status == OK
    for words in ("reconstruction + λ penalty", "relu_like", "l0, bandwidth 0.1", "W_enc", "mean over 1 batch"):
        assert words in out
    assert "±" not in out, "of one batch the error is unknown"


def test_biases_are_computed_again_as_the_run_reported_them(prolu: Prolu, trained: Run, tmp_path: Path) -> None:
    status, out, _ = prolu("biases", trained.folder, "--recompute", "--json")
    assert status == OK
    assert json.loads(out)["statistics"] == json.loads(trained.snapshot.statistics.model_dump_json())
    assert prolu("biases", trained.folder, "--recompute", "--plot", "b.svg")[0] == OK
    assert "firing frequency" in (tmp_path / "b.svg").read_text()


def test_a_folder_that_is_no_checkpoint_ends_with_the_childs_status(prolu: Prolu, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert prolu("evaluate", "empty")[0] == BAD_INPUT


def test_what_is_no_checkpoint_is_said_before_any_child_starts(prolu: Prolu, client: Client, tmp_path: Path) -> None:
    assert prolu("evaluate")[0] == NOT_YOURS
    client.runs.submit(RUN)
    status, _, err = prolu("evaluate", "last")
    assert status == BAD_INPUT
    assert "has no checkpoint yet" in err
    (tmp_path / "folder").mkdir()
    for arguments in (["evaluate", "folder", "--step", "5"], ["biases", "--step", "5"]):
        status, _, err = prolu(*arguments)
        assert status == BAD_INPUT
        assert "--step" in err


@pytest.mark.parametrize("arguments", [["evaluate"], ["align"], ["biases", "--recompute"]])
def test_without_torch_the_command_says_what_to_install(
    prolu: Prolu, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    status, _, err = prolu(*arguments)
    assert status == BAD_INPUT
    assert "needs torch, which is not installed here; install prolu[train]" in err


@pytest.mark.parametrize("command", ["evaluate", "align"])
def test_where_the_data_lie_is_passed_on(prolu: Prolu, trained: Run, tmp_path: Path, command: str) -> None:
    assert prolu(command, trained.folder, "--data-root", str(tmp_path), "--data-root", "s3://lab/x")[0] == OK
    assert prolu(command, trained.folder, "--data-root", "ftp://host/x")[0] == BAD_INPUT
