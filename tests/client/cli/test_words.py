"""What the command says: help, schema, version, waits; and what it never lets through to the terminal."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from prolu.client import Client
from prolu.client.cli.app import COMMANDS, OK
from tests.client.conftest import Prolu
from tests.client.desk import RUN, SWEEP, Desk, Running


def test_the_schema_and_the_version_are_printed(prolu: Prolu, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert "sparsity" in json.loads(prolu("schema")[1])["properties"]
    assert "variants" in json.loads(prolu("schema", "sweep")[1])["properties"]
    assert json.loads(prolu("version", "--json")[1])["database"] == "sqlite"
    monkeypatch.delenv("PROLU_URL")
    monkeypatch.setenv("PROLU_DATA_DIR", str(tmp_path))
    status, out, _ = prolu("version")
    assert status == OK
    assert "none (No service is known" in out


def test_every_command_says_what_it_is_for(prolu: Prolu) -> None:
    status, overview, _ = prolu("--help")
    assert status == OK
    assert "Exit status" in overview
    for command in COMMANDS:
        name = command.__name__
        assert f" {name} " in overview
        assert command.__doc__ is not None
        assert command.__doc__.split(".")[0].split(",")[0][:30] in prolu(name, "--help")[1]


def test_a_wait_that_people_would_notice_is_told_with_its_cause(capsys: pytest.CaptureFixture[str]) -> None:
    from prolu.client.cli.connecting import _tell

    _tell(0.25, "no service answers: refused")
    _tell(20.0, "http://service answers 503: The database\nis away.")
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "prolu: trying again in 20 s, since http://service answers 503: The database is away.\n"


def test_names_and_messages_neither_steer_the_terminal_nor_are_markup(prolu: Prolu, client: Client, desk: Desk) -> None:
    sweep = client.sweeps.submit({**SWEEP, "name": "[red]x[/red]"})
    for one in desk.claim():
        desk.fail(one, "[red]x[/red]\x1b[2J\x9b1m\u202eabc")
    for arguments in (["show", str(one)], ["watch", str(one)], ["watch", str(sweep.id)]):
        _, out, err = prolu(*arguments)
        assert not {"\x1b", "\x9b", "\u202e"} & set(out + err)
        assert r"[red]x[/red]\x1b[2J\x9b1m\u202eabc" in out + err
    for arguments in (["ls", "--sweeps"], ["show", str(sweep.id)], ["results", str(sweep.id)]):
        assert "[red]x[/red]" in prolu(*arguments)[1]


@pytest.mark.parametrize("arguments", [["ls"], ["biases", "RUN"]])
def test_a_terminal_without_these_letters_gets_others(
    service: Running, client: Client, desk: Desk, arguments: list[str]
) -> None:
    run = client.runs.submit({**RUN, "name": "\xe9t\xe9"})
    desk.train(*desk.claim())
    environment = {**os.environ, "PROLU_URL": service.url, "PROLU_TOKEN": service.token, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-m", "prolu.client.cli", *(str(run.id) if word == "RUN" else word for word in arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (OK, "")
    assert "?" in done.stdout
