"""Every public method of the client has an example, and every example runs against a real service."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import delete, select

from prolu.client import Client
from prolu.client.wire import KeepBest
from prolu.spec import parse
from service.store.models import TokenRow, UserRow
from tests.client.conftest import Running
from tests.client.desk import RUN, SWEEP

# These need a cluster that works on a checkpoint's weights, or a hub; here they are only compiled.
ELSEWHERE = {
    "checkpoints.export",
    "checkpoints.load",
    "checkpoints.push",
    "checkpoints.recompute",
    "chores.recompute",
    "chores.wait",
    "client.track",
}
_INLINE = re.compile(r"Example: `([^`]+)`")
_PEOPLE = ("ada", "grace", "emmy")


def methods() -> dict[str, Any]:
    """Every public method of the client and of its parts, by the name under which it is called."""
    with Client(url="http://localhost:1", token="prolu_" + "x" * 43) as client:
        parts = {"client": Client} | {name: type(part) for name, part in vars(client).items() if name[0] != "_"}
    return {
        f"{part}.{name}": inspect.getattr_static(kind, name)
        for part, kind in parts.items()
        for name in dir(kind)
        if not name.startswith("_")
    }


METHODS = methods()


def examples(method: Any) -> list[str]:
    """What stands in a docstring as an example: in back quotes after that word, or as a block of its own."""
    text = inspect.getdoc(method) or ""
    blocks = re.findall(r"(?:^    .*\n?)+", text, flags=re.MULTILINE)
    return [*_INLINE.findall(text), *filter(None, map(inspect.cleandoc, blocks))]


class World(dict[str, Any]):
    """What examples speak of: a finished run and sweep, and whatever else there must be, made when it is named."""

    def __init__(self, running: Running, client: Client) -> None:
        super().__init__()
        self._client = client
        self._desk = running.desk
        self._makers: dict[str, Callable[[], Any]] = {
            "waiting": lambda: client.runs.submit(RUN),
            "paused": lambda: client.runs.pause(client.runs.submit(RUN).id),
            "failed": self._failed,
            "going": lambda: client.sweeps.submit(SWEEP),
            "resting": lambda: client.sweeps.pause(client.sweeps.submit(SWEEP).id),
            "broken": self._broken,
            "search": self._search,
            "checkpoint": lambda: client.runs.checkpoints(self._trained().id)[0],
            "chore": lambda: client.chores.export(client.runs.checkpoints(self._trained().id)[-1].id),
            "node": self._node,
            "token": lambda: client.tokens.create("old"),
        }
        for name in _PEOPLE[:2]:
            client.users.create(name)
        self._stay = {"run": self._trained(), "other": self._trained(), "sweep": self._finished()}

    def anew(self) -> World:
        """The same for one more example, whose names are its own."""
        self.clear()
        self.update(Path=Path, sys=sys, KeepBest=KeepBest, client=self._client, **self._stay)
        return self

    def __missing__(self, name: str) -> Any:
        return self._makers[name]()  # a KeyError sends Python on to what is built in

    def _trained(self) -> Any:
        run = self._client.runs.submit(RUN)
        self._desk.claim()
        self._desk.train(run.id)
        return run

    def _failed(self) -> Any:
        run = self._client.runs.submit(RUN)
        self._desk.claim()
        self._desk.fail(run.id)
        return run

    def _finished(self) -> Any:
        sweep = self._client.sweeps.submit(SWEEP)
        self._desk.claim()
        for run in self._client.sweeps.runs(sweep.id):
            self._desk.train(run.id)
        return sweep

    def _broken(self) -> Any:
        sweep = self._client.sweeps.submit(SWEEP)
        self._desk.claim()
        for run in self._client.sweeps.runs(sweep.id):
            self._desk.fail(run.id)
        return sweep

    def _search(self) -> Any:
        document = parse((Path(__file__).parents[2] / "examples/sweeps/front.yaml").read_text())
        assert isinstance(document, dict)
        return self._client.sweeps.submit({**document, "base": SWEEP["base"]})

    def _node(self) -> Any:
        self._desk.see_nodes()
        (node,) = self._client.nodes.list()
        self._client.nodes.drain(node.name)
        return node


@pytest.fixture(scope="module")
def world(long_running_service: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    running = long_running_service
    running.desk.clear()
    with Client(running.url, running.token) as client:
        yield World(running, client)
    running.desk.clear()
    with running.desk.database.begin() as session:
        people = select(UserRow.id).where(UserRow.name.in_(_PEOPLE))
        session.execute(delete(TokenRow).where(TokenRow.user_id.in_(people) | TokenRow.name.in_(("laptop", "old"))))
        session.execute(delete(UserRow).where(UserRow.name.in_(_PEOPLE)))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the examples read and write files."""
    larger = {**SWEEP, "grid": {"sparsity.coefficient": [0.001, 0.002, 0.004]}}
    for name, document in (("run", RUN), ("sweep", SWEEP), ("more", larger)):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(document))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_public_method_has_an_example() -> None:
    assert [name for name, method in METHODS.items() if not examples(method)] == []
    for name, method in METHODS.items():
        for example in examples(method):
            compile(example, name, "exec")


@pytest.mark.parametrize("name", sorted(METHODS.keys() - ELSEWHERE))
def test_an_example_runs(
    name: str, world: World, long_running_service: Running, folder: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    for example in examples(METHODS[name]):
        names = world.anew()
        if name == "client.close":
            names["client"] = Client(long_running_service.url, long_running_service.token)
        exec(compile(example, name, "exec"), {}, names)  # noqa: S102 it is our own documentation
