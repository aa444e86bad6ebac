"""How the command ends when something cannot be done: one line, and an exit status that says why."""

from pathlib import Path
from uuid import UUID, uuid4

import pytest

from prolu.client import Client
from prolu.client.cli.app import BAD_INPUT, NOT_YOURS, OUT_OF_REACH
from tests.client.conftest import Prolu
from tests.client.desk import RUN, Running


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["results", "--output", "no/r.parquet"], "--output"),
        (["results", "--output", "no/r.csv"], "--output"),
        (["results", "--output", "folder.json"], "--output"),
        (["results", "--output", "/proc/r.csv"], "--output"),
        (["results", "--output", "/proc/r.parquet"], "--output"),
        (["results", "--plot", "no/r.png"], "--plot"),
        (["results", "--plot", "file/r.png"], "--plot"),
        (["results", "--plot", "/proc/r.png"], "--plot"),
        (["biases", "--plot", "no/b.png"], "--plot"),
        (["biases", "--plot", "/proc/b.png"], "--plot"),
        (["diagnostics", "--plot", "no/d.png"], "--plot"),
        (["download", "RUN", "no/folder"], "DIR"),
        (["download", "RUN", "file"], "DIR"),
        (["download", "RUN", "file/folder"], "DIR"),
        (["download", "RUN", "/proc/folder"], "DIR"),
        (["up", "--data-dir", "/proc/folder"], "--data-dir"),
        (["up", "--data-dir", "file"], "--data-dir"),
        (["up", "--data-dir", "file/folder"], "--data-dir"),
    ],
)
def test_a_place_that_cannot_be_written_to_is_named_and_left_alone(
    prolu: Prolu, client: Client, finished: UUID, tmp_path: Path, arguments: list[str], option: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.json").mkdir()
    good = str(client.sweeps.runs(finished)[1].id)
    before = sorted(tmp_path.rglob("*"))
    status, out, err = prolu(*(good if word == "RUN" else word for word in arguments))
    assert (status, out) == (BAD_INPUT, "")
    assert len(err.splitlines()) == 1
    assert option in err
    assert arguments[-1] in err
    assert sorted(tmp_path.rglob("*")) == before


def test_without_a_service_the_exit_status_says_so(
    prolu: Prolu, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, run_file: str
) -> None:
    monkeypatch.setenv("PROLU_URL", "http://127.0.0.1:9")
    status, _, err = prolu("ls")
    assert status == OUT_OF_REACH
    assert "No service answers at http://127.0.0.1:9 (from PROLU_URL)" in err
    monkeypatch.delenv("PROLU_URL")
    monkeypatch.setenv("PROLU_DATA_DIR", str(tmp_path))
    assert prolu("submit", run_file)[0] == OUT_OF_REACH


def test_without_the_right_token_or_with_an_unknown_id_the_exit_status_says_so(
    prolu: Prolu, monkeypatch: pytest.MonkeyPatch, client: Client
) -> None:
    assert prolu("show")[0] == NOT_YOURS
    client.runs.submit(RUN)
    for reference in (str(uuid4()), "ffffffff"):
        status, _, err = prolu("show", reference)
        assert status == NOT_YOURS
        assert len(err.splitlines()) == 1
    for token in ("wrong", "s3cr\xe9t", "s3cr\nt", ""):
        monkeypatch.setenv("PROLU_TOKEN", token)
        status, _, err = prolu("ls")
        assert status == NOT_YOURS
        assert len(err.splitlines()) == 1
        assert "s3cr" not in err


def test_an_ambiguous_or_impossible_id_is_bad_input(prolu: Prolu, client: Client) -> None:
    first = client.runs.submit(RUN).id
    client.runs.submit(RUN)
    status, _, err = prolu("show", first.hex[:4])
    assert status == BAD_INPUT
    assert "fits 2" in err
    for reference in ("abc", "nonsense", "../etc"):
        assert prolu("show", reference)[0] == BAD_INPUT


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["submit"],
        ["ls", "--limit", "0"],
        ["ls", "--state", "asleep"],
        ["submit", "-", "--priority", "101"],
        ["results", "--output", "r.xlsx"],
        ["results", "--plot", "r.gif"],
        ["biases", "--plot", "r"],
        ["biases", "--over-training"],
        ["diagnostics", "--plot", "d.gif"],
        ["biases", "--latents", "none"],
        ["schema", "job"],
        ["up", "--port", "70000"],
    ],
)
def test_a_mistyped_command_is_bad_input_and_one_line(prolu: Prolu, arguments: list[str]) -> None:
    status, out, err = prolu(*arguments)
    assert (status, out) == (BAD_INPUT, "")
    assert len(err.splitlines()) == 1
    assert "Traceback" not in err


def test_a_second_up_on_a_data_directory_is_refused(prolu: Prolu, tmp_path: Path) -> None:
    from prolu.client.up.holding import hold

    with hold(tmp_path / "data", say=print):
        status, _, err = prolu("up", "--data-dir", str(tmp_path / "data"))
    assert status == BAD_INPUT
    assert "is held by process" in err
    assert len(err.splitlines()) == 1


def test_up_refuses_an_address_that_is_taken_or_is_none(prolu: Prolu, service: Running, tmp_path: Path) -> None:
    port = service.url.rpartition(":")[2]
    status, _, err = prolu("up", "--data-dir", str(tmp_path / "data"), "--port", port)
    assert status == BAD_INPUT
    assert "choose another with --port" in err
    assert prolu("up", "--data-dir", str(tmp_path / "data"), "--host", "no.such.host.invalid")[0] == BAD_INPUT
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["up.lock"]
