"""Clients that speak to the real app."""

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import pytest
import yaml

from prolu.client import Client
from prolu.client.cli.app import run
from tests.client.desk import RUN, SWEEP, Desk, Running, running_service

Prolu = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def long_running_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One service for all tests of the client; ask for `service`, which is empty."""
    with running_service(tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.fixture
def service(long_running_service: Running) -> Running:
    """The service, without a run or a sweep in it."""
    long_running_service.desk.clear()
    return long_running_service


@pytest.fixture
def desk(service: Running) -> Desk:
    return service.desk


@pytest.fixture
def client(service: Running) -> Iterator[Client]:
    with Client(service.url, service.token) as client:
        yield client


@pytest.fixture
def prolu(
    service: Running, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Prolu:
    """The command, in an environment that names the service: exit status, standard output, standard error."""
    monkeypatch.setenv("PROLU_URL", service.url)
    monkeypatch.setenv("PROLU_TOKEN", service.token)
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str, stdin: str | None = None) -> tuple[int, str, str]:
        if stdin is not None:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        status = run(arguments)
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


@pytest.fixture
def run_file(tmp_path: Path) -> str:
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(RUN))
    return "run.yaml"


@pytest.fixture
def sweep_file(tmp_path: Path) -> str:
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(SWEEP))
    return "sweep.yaml"


@pytest.fixture
def finished(client: Client, desk: Desk) -> UUID:
    """A sweep of which three runs succeeded and one failed."""
    sweep = client.sweeps.submit(SWEEP)
    first, *others = desk.claim()
    desk.fail(first)
    for other in others:
        desk.train(other)
    return sweep.id
