"""The commands of docs/how-to/back-up.md: a copy made while the service writes and a run trains, brought back after a loss."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from prolu.client import Client, NotFound
from tests.client.desk import RUN, Running
from tests.docs.workshop import working_service
from tests.postgres import PostgresServer

PAGE = (Path(__file__).parents[2] / "docs/how-to/back-up.md").read_text(encoding="utf-8")
CHECKPOINT_EVERY_STEPS = 30
SHORT: dict[str, Any] = {**RUN, "name": "short", "training": {"steps": 20, "batch_size": 64}}
LONG: dict[str, Any] = {
    **RUN,
    "name": "long",
    "training": {"steps": 300, "batch_size": 64, "checkpoint_every_steps": CHECKPOINT_EVERY_STEPS},
}
LATER: dict[str, Any] = {**RUN, "name": "after the copy", "training": {"steps": 1, "batch_size": 64}}
DATABASES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}


@dataclass(frozen=True)
class Lab:
    """Where a lab keeps its things, and where the copies go."""

    data: Path
    environment: dict[str, str]
    database_url: str
    lose_database: Callable[[], None]

    def follow(self, chapter: str, kind: str) -> None:
        """Run the commands of a chapter, in order, but those for the other kind of database."""
        for command in commands(chapter, kind):
            subprocess.run(["/bin/bash", "-euc", command], env=self.environment, check=True)

    def serves(self) -> Any:
        return working_service(self.data, database_url=self.database_url)


def commands(chapter: str, kind: str) -> Iterator[str]:
    """Each block of a chapter with what is said before it; a block for SQLite or PostgreSQL says so in the line before."""
    text = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    (found,) = [part for part in text if part.startswith(f"{chapter}\n")]
    (other,) = (name for known, name in DATABASES.items() if known != kind)
    for introduction, block in re.findall(r"([^\n]*)\n\n```console\n(.*?)```", found, re.DOTALL):
        if other not in introduction:
            yield "\n".join(line.removeprefix("$ ") for line in block.splitlines())


@pytest.fixture(params=list(DATABASES))
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of database."""
    return str(request.param)


@pytest.fixture
def lab(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Lab:
    """A lab on that kind of database."""
    data = tmp_path / "data"
    environment = os.environ | {"DATA": str(data), "BACKUP": str(tmp_path / "backup")}
    path = [str(Path(sys.executable).parent), os.environ["PATH"]]
    if kind == "sqlite":
        return Lab(data, environment | {"PATH": ":".join(path)}, "", lambda: None)  # it is lost with its folder
    server: PostgresServer = request.getfixturevalue("postgres_server")
    url = server.empty()
    name = url.rpartition("/")[2]

    def lose() -> None:
        server.run(f"DROP DATABASE {name} WITH (FORCE)")
        server.run(f"CREATE DATABASE {name}")

    path.insert(0, str(server.binaries))
    environment |= {"PATH": ":".join(path), "DATABASE": url.replace("+psycopg", "")}
    migrating = environment | {"PROLU_DATABASE_URL": url, "PROLU_DATA_DIR": str(data)}
    subprocess.run([sys.executable, "-m", "service", "migrate"], env=migrating, check=True, capture_output=True)
    return Lab(data, environment, url, lose)


def until(condition: Callable[[], Any], *, seconds: float = 120) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{condition} did not come true within {seconds} s"
        time.sleep(0.05)
    return found


def in_the_middle(client: Client, run: Any) -> bool:
    """Whether it trains and has a checkpoint that it can go on from."""
    return bool(client.runs.checkpoints(run.id)) and client.runs.get(run.id).state == "running"


def test_a_copy_made_while_a_run_trains_brings_everything_back(lab: Lab, kind: str) -> None:
    with lab.serves() as service, client_of(service) as client:
        short = client.runs.wait(client.runs.submit(SHORT).id)
        token = client.tokens.create("a notebook").token
        long = client.runs.submit(LONG)
        until(lambda: in_the_middle(client, long))
        lab.follow("Back up", kind)
        assert client.runs.get(long.id).state == "running", "the copy was made while it trained"
        client.runs.cancel(long.id)
        client.runs.wait(long.id)
        later = client.runs.wait(client.runs.submit(LATER).id)
    lab.lose_database()
    shutil.rmtree(lab.data)

    lab.follow("Restore", kind)
    with lab.serves() as service, Client(service.url, token) as client:
        back = client.runs.get(short.id)
        assert (back.state, back.metrics) == ("succeeded", short.metrics)
        with pytest.raises(NotFound):
            client.runs.get(later.id)
        assert client.runs.wait(long.id).state == "succeeded"
        lost, succeeded = client.runs.attempts(long.id)
        assert (lost.outcome, succeeded.outcome) == ("lost", "succeeded")
        assert (succeeded.resumed_from_step or 0) >= CHECKPOINT_EVERY_STEPS
        for run in (short, long):
            checkpoints = client.runs.checkpoints(run.id)
            assert checkpoints
            assert all(client.checkpoints.verify(one.id).good for one in checkpoints)
        with client_of(service) as first_administrator:
            assert first_administrator.users.list(), "its token is in the file again"


def client_of(service: Running) -> Client:
    return Client(service.url, service.token)
