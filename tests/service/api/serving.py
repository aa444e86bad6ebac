"""The service behind a real server on a free port of loopback, and a reader of its streams."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from prolu.spec.report import LogLines, Report
from service.__main__ import Server, serving
from service.api.context import Services
from service.app import create_app
from service.settings import Settings
from service.store import queue, reports
from tests.service.api.work import RUN


@dataclass(frozen=True)
class Message:
    """One server-sent event."""

    id: str | None
    kind: str | None
    data: Any


@dataclass(frozen=True)
class Served:
    """A service that answers at `http`, whose dispatcher is the test."""

    http: httpx.Client
    services: Services
    server: Server

    def submit(self, **body: Any) -> UUID:
        answer = self.http.post("/v1/runs", json={**RUN, **body})
        assert answer.status_code == 201, answer.text
        return UUID(answer.json()["id"])

    def claim(self, run_id: UUID) -> int:
        with self.services.database.begin() as session:
            return queue.claim(session, [run_id], holder="test", lease_seconds=60)[0].epoch

    def say(self, run_id: UUID, epoch: int, start: int, *said: Report | str) -> int | None:
        """Report something; a text is a line of the log."""
        messages = [LogLines(text=one) if isinstance(one, str) else one for one in said]
        with self.services.database.begin() as session:
            return reports.apply(
                session, run_id, epoch, list(enumerate(messages, start=start)), lease_seconds=60, node="node-1"
            )

    @contextmanager
    def follow(self, path: str, *, after: str | None = None, **params: Any) -> Iterator[Iterator[Message]]:
        headers = {} if after is None else {"Last-Event-ID": after}
        with self.http.stream("GET", path, params=params, headers=headers) as response:
            response.read() if response.status_code != 200 else None
            assert response.status_code == 200, response.text
            assert response.headers["content-type"].startswith("text/event-stream")
            yield messages(response.iter_lines())


def messages(lines: Iterator[str]) -> Iterator[Message]:
    """Read messages as the protocol has it: fields until an empty line; what begins with a colon is a comment."""
    found: dict[str, str] = {}
    for line in lines:
        if line.startswith(":"):
            yield Message(None, "comment", line[1:].strip())
        elif line:
            name, _, value = line.partition(": ")
            found[name] = value
        else:
            if found.keys() & {"id", "data"}:
                data = json.loads(found["data"]) if "data" in found else None
                yield Message(found.get("id"), found.get("event"), data)
            found = {}


@contextmanager
def served(folder: Path, database_url: str = "", **changes: Any) -> Iterator[Served]:
    """Run the service in a thread; without a URL on SQLite below `folder`."""
    settings = Settings(data_dir=folder, database_url=database_url, port=0, hub="offline", **changes)
    app = create_app(settings)
    server = Server(serving(app, "127.0.0.1", 0), folder / "endpoint.json", app.state.services.streams)
    thread = threading.Thread(target=server.run)
    thread.start()
    endpoint = folder / "endpoint.json"
    pause = threading.Event()
    while not endpoint.exists():
        assert thread.is_alive(), "the service did not start"
        pause.wait(0.01)
    headers = {"Authorization": f"Bearer {settings.token_file.read_text().strip()}"}
    limits = httpx.Limits(max_connections=200)
    url = json.loads(endpoint.read_text())["url"]
    with httpx.Client(base_url=url, headers=headers, timeout=20, limits=limits) as http:
        yield Served(http, app.state.services, server)
    server.should_exit = True
    thread.join(20)
    assert not thread.is_alive()


def wait_until(condition: Callable[[], bool]) -> None:
    """Return once something has come true, which another thread sees to. Fails after ten seconds."""
    pause, deadline = threading.Event(), time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        pause.wait(0.01)
