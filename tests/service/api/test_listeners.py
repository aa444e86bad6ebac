"""A thousand who follow something, on one real process: no thread for each, news for all soon, and room for other requests."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.service.api.work import RUN, sweep_body
from tests.service.test_main import environment, serving


@dataclass
class Figures:
    """What a thousand listeners cost."""

    threads: int
    kilobytes_each: float
    opened_seconds: float
    idle_cpu_share: float
    reached_seconds: float
    slowest_request_seconds: float


@dataclass(frozen=True)
class Process:
    """The service, seen from outside."""

    url: str
    token: str
    pid: int

    def status(self, name: str) -> int:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))

    def cpu_seconds(self) -> float:
        user, system = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / 100


@asynccontextmanager
async def listening(process: Process, path: str):  # type: ignore[no-untyped-def]
    place = urlsplit(process.url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {process.token}\r\n\r\n".encode())
    head = await reader.readuntil(b"retry: 1000")
    assert head.startswith(b"HTTP/1.1 200 "), head
    yield reader
    writer.close()


async def heard(readers: Sequence[asyncio.StreamReader], words: bytes) -> float:
    """Seconds until every one has read the words."""
    began = time.monotonic()
    await asyncio.gather(*(reader.readuntil(words) for reader in readers))
    return time.monotonic() - began


async def measure(process: Process, listeners: int) -> Figures:
    headers = {"Authorization": f"Bearer {process.token}"}
    async with httpx.AsyncClient(base_url=process.url, headers=headers, timeout=20) as http, AsyncExitStack() as stack:
        followed = [(await http.post("/v1/runs", json=RUN)).json()["id"] for _ in range(20)]
        paths = [f"/v1/runs/{run_id}/{what}" for run_id in followed for what in ("logs?follow=true", "metrics/stream")]
        sweep = (await http.post("/v1/sweeps", json=sweep_body())).json()["id"]
        paths += [f"/v1/sweeps/{sweep}/metrics/stream"] * 10
        before, began = process.status("VmRSS"), time.monotonic()
        wanted = [paths[number % len(paths)] if number % 2 else "/v1/events" for number in range(listeners)]
        readers: list[asyncio.StreamReader] = []
        for start in range(0, listeners, 100):
            some = (stack.enter_async_context(listening(process, path)) for path in wanted[start : start + 100])
            readers.extend(await asyncio.gather(*some))
        opened = time.monotonic() - began
        threads, grown = process.status("Threads"), process.status("VmRSS") - before
        spent, at = process.cpu_seconds(), time.monotonic()
        await asyncio.sleep(1.0)  # what is measured is that nothing happens
        idle = (process.cpu_seconds() - spent) / (time.monotonic() - at)
        slowest = 0.0

        async def others() -> None:
            nonlocal slowest
            while True:
                asked = time.monotonic()
                assert (await http.get("/v1/runs?limit=10")).status_code == 200
                slowest = max(slowest, time.monotonic() - asked)

        busy = asyncio.create_task(others())
        made = asyncio.create_task(http.post("/v1/runs", json=RUN))
        reached = await heard(readers[::2], b'"submitted"')
        busy.cancel()
        await made
    return Figures(threads, grown / listeners, opened, idle, reached, slowest)


# The watch asks each database in its own way; what a listener costs is the same, so that fewer show it for the second.
@pytest.mark.parametrize(("kind", "listeners"), [("sqlite", 1_000), ("postgresql", 200)])
def test_a_thousand_who_follow_cost_no_thread_each_and_hear_soon(
    kind: str, listeners: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    settings = {"PROLU_HUB": "offline", "PROLU_LOG_LEVEL": "warning"}
    if kind == "postgresql":
        settings["PROLU_DATABASE_URL"] = request.getfixturevalue("postgres_server").empty()
        subprocess.run(
            [sys.executable, "-m", "service", "migrate"], env=environment(tmp_path, **settings), check=True, timeout=60
        )
    with serving(tmp_path, environment(tmp_path, **settings)) as (url, process):
        token = (tmp_path / "token").read_text().strip()
        figures = asyncio.run(measure(Process(url, token, process.pid), listeners))
    told = json.dumps(figures.__dict__)
    assert figures.threads < 70, told
    assert figures.kilobytes_each < 150, told
    assert figures.idle_cpu_share < 0.5, told
    assert figures.reached_seconds < 5, told
    assert figures.slowest_request_seconds < 3, told
