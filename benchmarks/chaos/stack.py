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
import ray

from benchmarks.chaos.databases import Kind, Victim, database
from benchmarks.chaos.disk import Disk
from benchmarks.chaos.nodes import Nodes, nodes

NAMESPACE = "chaos"
LEASE_SECONDS = 12.0
ORPHAN_SECONDS = 25.0
LEADER_SECONDS = 4.0
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
    standby: Standby

    def connect(self) -> None:
        """Connect this process to Ray, which is asked for the processes of actors."""
        ray.init(self.nodes.address, namespace=NAMESPACE, log_to_driver=False, logging_level="error")

    def tend(self) -> None:
        """Start again what is due and has no keeper but us. Call it often, from one thread."""
        self.nodes.tend()
        self.standby.tend()

    def processes(self, module: str) -> list[psutil.Process]:
        """The processes of the API or of the dispatchers that have run for a while; their keepers start them again."""
        found = []
        for process in psutil.Process().children(recursive=True):
            try:
                command = process.cmdline()
                settled = time.time() - process.create_time() > _SETTLED_SECONDS
            except psutil.NoSuchProcess:
                continue
            if settled and command[-2:] == ["-m", module] and "guardian" not in " ".join(command):
                found.append(process)
        return found


class Standby:
    """A dispatcher beside that of `prolu up`: one leads, the other waits to take over."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self._environment = environment
        self._log = log
        self._process = self._start()

    def tend(self) -> None:
        """Start it again if it has ended."""
        if self._process.poll() is not None:
            self._process = self._start()

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", DISPATCHER],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )


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
            **os.environ,
            "PROLU_DATA_DIR": str(home),
            "PROLU_DATABASE_URL": victim.url,
            "PROLU_ARTIFACT_ROOT": str(disk.artifacts),
            "PROLU_RAY_ADDRESS": cluster.address,
            "PROLU_RAY_NAMESPACE": NAMESPACE,
            "PROLU_LEASE_SECONDS": str(LEASE_SECONDS),
            "PROLU_ORPHAN_SECONDS": str(ORPHAN_SECONDS),
            "PROLU_LEADER_SECONDS": str(LEADER_SECONDS),
            "PROLU_MIN_RUN_SECONDS": "1",
            "PROLU_POLL_SECONDS": "0.25",
            "PROLU_HUB": "offline",
        }
        held.callback(_keep_logs, home / "logs", logs)
        up = _start_up(home, environment, logs / "up.log")
        held.callback(_stop_up, up)
        url = _await_endpoint(home, up, logs / "up.log")
        standby = Standby(environment, logs / "standby.log")
        held.callback(standby.stop)
        yield Stack(url, (home / "token").read_text().strip(), victim, cluster, disk, standby)


def _start_up(home: Path, environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", "prolu.client.cli", "up", "--data-dir", str(home), "--port", "0"]
    with log.open("wb") as output:
        return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output)


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
