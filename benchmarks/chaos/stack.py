"""The service under test, in real processes: database, Ray nodes, artifact store, and `prolu up`, which is its keeper.

chaos ── PostgreSQL
      ── ray start (head, added nodes) ── raylet ── actors
      ── prolu up ── guardian ── python -m service      restarted by `prolu up` when killed
                  ── guardian ── python -m workers      likewise
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.chaos.databases import Kind, Victim, database
from benchmarks.chaos.disk import Disk
from benchmarks.chaos.nodes import Nodes, nodes

NAMESPACE = "chaos"
LEASE_SECONDS = 12.0
ORPHAN_SECONDS = 45.0
API = "service"
DISPATCHER = "workers"
_UP_SECONDS = 120.0
# The supervisor gives up a child that dies five times in a row within ten seconds of its start.
_SETTLED_SECONDS = 11.0


@dataclass(frozen=True)
class Stack:
    """Everything that can be disturbed."""

    url: str
    token: str
    database: Victim
    nodes: Nodes
    disk: Disk
    up: subprocess.Popen[bytes]
    logs: Path

    def process(self, module: str) -> psutil.Process | None:
        """The API or the dispatcher, whose keeper starts it again when it dies; None while it is gone, or came just now."""
        for process in psutil.Process(self.up.pid).children(recursive=True):
            try:
                command = process.cmdline()
                if command[-2:] == ["-m", module] and "guardian" not in " ".join(command):
                    return process if time.time() - process.create_time() > _SETTLED_SECONDS else None
            except psutil.NoSuchProcess:
                continue
        return None


@contextmanager
def stack(kind: Kind, disk_mount: Path, logs: Path) -> Iterator[Stack]:
    """Run the service for the time of a block. Logs of its processes go to `logs`, which stays."""
    logs.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        home = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="prolu-chaos-")))
        victim = held.enter_context(database(kind, home))
        cluster = held.enter_context(nodes())
        disk = Disk(disk_mount, kind)
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PROLU_")},
            "PROLU_DATA_DIR": str(home),
            "PROLU_DATABASE_URL": victim.url,
            "PROLU_ARTIFACT_ROOT": str(disk.artifacts),
            "PROLU_RAY_ADDRESS": cluster.address,
            "PROLU_RAY_NAMESPACE": NAMESPACE,
            "PROLU_LEASE_SECONDS": str(LEASE_SECONDS),
            "PROLU_ORPHAN_SECONDS": str(ORPHAN_SECONDS),
            "PROLU_POLL_SECONDS": "0.25",
            "PROLU_HUB": "offline",
        }
        held.callback(_keep_logs, home / "logs", logs)
        up = _start_up(home, environment, logs / "up.log")
        held.callback(_stop_up, up)
        url = _await_endpoint(home, up, logs / "up.log")
        yield Stack(url, (home / "token").read_text().strip(), victim, cluster, disk, up, logs)


def _start_up(home: Path, environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", "prolu.client.cli", "up", "--data-dir", str(home), "--port", "0"]
    with log.open("wb") as output:
        return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output)  # noqa: S603 our own arguments


def _await_endpoint(home: Path, up: subprocess.Popen[bytes], log: Path) -> str:
    endpoint = home / "endpoint.json"
    deadline = time.monotonic() + _UP_SECONDS
    while not endpoint.exists():
        if up.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"prolu up did not come up:\n{log.read_text()[-3000:]}")
        time.sleep(0.1)
    return str(json.loads(endpoint.read_text())["url"])


def _stop_up(up: subprocess.Popen[bytes]) -> None:
    up.terminate()
    try:
        up.wait(60)
    except subprocess.TimeoutExpired:
        up.kill()
        up.wait()


def _keep_logs(source: Path, target: Path) -> None:
    for log in source.glob("*.log"):
        (target / log.name).write_bytes(log.read_bytes())
