"""`python -m service` as a process: serve, migrate, token; and what importing it loads."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import structlog

from service.__main__ import main
from service.store import schema
from tests.postgres import PostgresServer


def environment(folder: Path, **settings: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PROLU_")}
    return {**kept, "PROLU_DATA_DIR": str(folder), "PROLU_PORT": "0", **settings}


@dataclass(frozen=True)
class Ended:
    """How a command ended and what it said."""

    status: int
    said: str
    complained: str


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Ended]]:
    """Run a command within this process, which is quicker than starting one."""
    for name in [name for name in os.environ if name.startswith("PROLU_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PROLU_DATA_DIR", str(tmp_path))
    handlers, level = logging.getLogger().handlers, logging.getLogger().level

    def command(*arguments: str, **settings: str) -> Ended:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        status = main(arguments)
        heard = capsys.readouterr()
        return Ended(status, heard.out, heard.err)

    yield command
    logging.getLogger().handlers = handlers
    logging.getLogger().setLevel(level)
    structlog.reset_defaults()


@contextmanager
def serving(folder: Path, surroundings: Mapping[str, str]) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run the service and give its address, once it has written it."""
    note = folder / "endpoint.json"
    command = [sys.executable, "-m", "service", "serve", "--endpoint-file", str(note)]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(command, env=surroundings, stderr=log, text=True) as process,
    ):
        try:
            while not note.exists():
                assert process.poll() is None, (folder / "log").read_text()
                time.sleep(0.05)
            found = json.loads(note.read_text())
            assert found["pid"] == process.pid
            yield found["url"], process
        finally:
            process.terminate()
            process.wait(20)


def test_the_service_serves_where_it_says_and_ends_when_told(tmp_path: Path) -> None:
    with serving(tmp_path, environment(tmp_path)) as (url, process):
        token = (tmp_path / "token").read_text().strip()
        assert httpx.get(f"{url}/readyz").json() == {"ready": True, "checks": {"database": "ok", "artifacts": "ok"}}
        assert httpx.get(f"{url}/livez").status_code == 200
        me = httpx.get(f"{url}/v1/me", headers={"Authorization": f"Bearer {token}"})
        assert me.json()["role"] == "admin"
        assert httpx.get(f"{url}/v1/me").status_code == 401
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        assert time.monotonic() - began < 8
    assert not (tmp_path / "endpoint.json").exists()
    log = (tmp_path / "log").read_text()
    assert "path=/v1/me" in log
    assert token not in log


def test_a_postgresql_behind_is_told_by_readyz_until_it_is_migrated(
    tmp_path: Path, postgres_server: PostgresServer, run: Callable[..., Ended]
) -> None:
    url = postgres_server.empty()
    surroundings = environment(tmp_path, PROLU_DATABASE_URL=url, PROLU_LOG_FORMAT="json")
    with serving(tmp_path, surroundings) as (address, _):
        answer = httpx.get(f"{address}/readyz")
        assert answer.status_code == 503
        assert "python -m service migrate" in answer.json()["checks"]["database"]
        assert httpx.get(f"{address}/livez").status_code == 200
        newest = schema.newest()
        assert run("migrate", PROLU_DATABASE_URL=url) == Ended(0, f"schema: none -> {newest}\n", "")
        assert httpx.get(f"{address}/readyz").status_code == 200
    assert run("migrate") == Ended(0, f"schema: {newest} -> {newest}\n", "")
    assert all(json.loads(line)["event"] for line in (tmp_path / "log").read_text().splitlines())


def test_the_token_command_makes_a_token_and_prints_its_place(tmp_path: Path, run: Callable[..., Ended]) -> None:
    assert run("token") == Ended(0, f"{tmp_path / 'token'}\n", "")
    token = (tmp_path / "token").read_text().strip()
    assert run("token", "--show") == Ended(0, f"{token}\n", "")


def test_the_token_command_asks_for_the_migration_first(
    postgres_server: PostgresServer, run: Callable[..., Ended]
) -> None:
    refused = run("token", PROLU_DATABASE_URL=postgres_server.empty())
    assert refused.status == 1
    assert "run `python -m service migrate`" in refused.complained


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"PROLU_PORT": "many"}, "The setting PROLU_PORT is wrong"),
        ({"PROLU_DATABASE_URL": "mysql://h/d"}, "works with sqlite and postgresql"),
        ({"PROLU_DATABASE_URL": "no url at all"}, "The database URL cannot be read"),
    ],
)
@pytest.mark.parametrize("command", ["migrate", "token", "serve"])
def test_a_wrong_setting_is_one_sentence_and_exit_status_2(
    run: Callable[..., Ended], command: str, settings: dict[str, str], words: str
) -> None:
    refused = run(command, **settings)
    assert refused.status == 2, "permanent: a supervisor need not try again"
    assert words in refused.complained
    assert "Traceback" not in refused.complained


@pytest.mark.parametrize("command", ["migrate", "token", "serve"])
def test_a_database_out_of_reach_is_one_sentence_and_exit_status_1(run: Callable[..., Ended], command: str) -> None:
    refused = run(command, PROLU_DATABASE_URL="postgresql://u:hunter2@127.0.0.1:9/d")
    assert refused.status == 1, "it may pass"
    assert "The database does not answer" in refused.complained
    assert "Traceback" not in refused.complained
    assert "hunter2" not in refused.complained


def test_the_installed_service_loads_neither_torch_nor_ray_and_finds_its_migrations(tmp_path: Path) -> None:
    heavy = ["torch", "ray", "transformers", "datasets", "pyarrow", "numpy", "pandas"]
    code = f"""
import sys, service.app, service.__main__
from service.store import schema
print([name for name in {heavy!r} if name in sys.modules], schema.newest())
"""
    found = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert found.stdout == f"[] {schema.newest()}\n"
