"""A Ray cluster of real raylets on this machine: a head and added nodes, which are killed and come back.

Each node has a loopback address of its own (Linux answers on all of 127.0.0.0/8), so that it is another node to
everybody: in its name, in where actors land, and in which raylet a driver attaches to, which is the head's.
"""

from __future__ import annotations

import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

HEAD = "127.0.0.2"
# Address and CPUs of the added nodes; the head has none, so that nothing trains there.
ADDED: Mapping[str, int] = {"127.0.0.3": 2, "127.0.0.4": 2}
AWAY_SECONDS = 4.0
_START_SECONDS = 120.0
_STARTED = "Ray runtime started"
_MEMORY_BYTES = 8_000_000_000
_OBJECT_STORE_BYTES = 80_000_000
_AGREED = {
    # A dead node is noticed within seconds, not within a quarter of a minute.
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "3000",
    "RAY_health_check_failure_threshold": "3",
    # Nor does whoever has lost the head wait a minute for it to come back as another.
    "RAY_gcs_rpc_server_reconnect_timeout_s": "8",
    # A stopped worker that is to end is not killed by its raylet: it shall wake up and find that it is too late.
    "RAY_kill_worker_timeout_milliseconds": "3600000",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1",
}


def surroundings(folder: Path) -> dict[str, str]:
    """Return the environment variables on which all nodes and drivers must agree, with a fresh token in `folder`.

    They are set for the whole suite, since Ray reads some of them once per process.
    """
    token = folder / "ray_token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    return {**_AGREED, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}


@dataclass
class _Node:
    address: str
    cpus: int
    process: subprocess.Popen[bytes]
    back_at: float | None = None
    """When a dead node is started again."""


class Nodes:
    """The head and the added nodes; `tend` brings back what was killed."""

    def __init__(self, folder: Path) -> None:
        """`folder` takes logs and Ray's session; its path must be short, since sockets lie in it."""
        self._folder = folder
        with socket.socket() as probe:
            probe.bind((HEAD, 0))
            self.address = f"{HEAD}:{probe.getsockname()[1]}"
        self._head = self._start(HEAD, 0)
        deadline = time.monotonic() + _START_SECONDS
        while not self._has_started(HEAD):
            self._go_on_waiting(HEAD, deadline if self._head.poll() is None else 0.0)
        self._added = {address: _Node(address, cpus, self._start(address, cpus)) for address, cpus in ADDED.items()}
        while missing := [address for address in ADDED if not self._has_started(address)]:
            self.tend()  # on a busy machine Ray gives a node up that takes half a minute to start
            self._go_on_waiting(missing[0], deadline)

    def present(self) -> list[str]:
        """The added nodes that have a raylet."""
        return [node.address for node in self._added.values() if self._raylet(node) is not None]

    def kill(self, address: str) -> bool:
        """SIGKILL the raylet of an added node, which comes back in a few seconds as a new node. False if it has none."""
        node = self._added[address]
        raylet = self._raylet(node)
        if raylet is None:
            return False
        raylet.kill()
        node.back_at = time.monotonic() + AWAY_SECONDS
        return True

    def kill_head(self) -> None:
        """SIGKILL the head's control service, which remembers nothing: the cluster ends, and another comes at its address."""
        below = psutil.Process(self._head.pid).children(recursive=True)
        next(process for process in below if process.name() == "gcs_server").kill()
        self._head.wait()

    @property
    def complete(self) -> bool:
        """Whether the head and every added node are up."""
        return self._head_is_up() and len(self.present()) == len(self._added)

    def tend(self) -> None:
        """Start again what is due. Call it often, from one thread: what it starts dies with that thread's process."""
        if self._head.poll() is not None:
            self._head = self._start(HEAD, 0)
        if not self._head_is_up():
            return  # the others would find nobody
        for node in self._added.values():
            if node.back_at is None and node.process.poll() is not None:
                node.back_at = time.monotonic()  # it ended by itself
            if node.back_at is not None and time.monotonic() >= node.back_at and node.process.poll() is not None:
                node.process, node.back_at = self._start(node.address, node.cpus), None

    def stop(self) -> None:
        """End every node."""
        processes = [*(node.process for node in self._added.values()), self._head]
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self, address: str, cpus: int) -> subprocess.Popen[bytes]:
        port = self.address.rpartition(":")[2]
        role = (
            ["--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={self._folder / 'ray'}"]
            if address == HEAD
            else [f"--address={self.address}"]
        )
        options = [
            *("start", "--block", "--disable-usage-stats", "--include-log-monitor=false", *role),
            *("--min-worker-port=0", "--max-worker-port=0", "--dashboard-agent-listen-port=0"),
            *(f"--node-ip-address={address}", f"--num-cpus={cpus}"),
            *(f"--memory={_MEMORY_BYTES}", f"--object-store-memory={_OBJECT_STORE_BYTES}"),
        ]
        with self._log(address).open("wb") as log:
            return subprocess.Popen(
                [str(Path(sys.executable).with_name("ray")), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _head_is_up(self) -> bool:
        return self._head.poll() is None and self._has_started(HEAD)

    def _has_started(self, address: str) -> bool:
        return _STARTED in self._log(address).read_text(errors="replace")

    def _go_on_waiting(self, address: str, deadline: float) -> None:
        if time.monotonic() > deadline:
            raise RuntimeError(f"The Ray node {address} did not start:\n{self._log(address).read_text()[-2000:]}")
        time.sleep(0.1)

    def _log(self, address: str) -> Path:
        return self._folder / f"ray-{address}.log"

    @staticmethod
    def _raylet(node: _Node) -> psutil.Process | None:
        try:
            below = psutil.Process(node.process.pid).children(recursive=True)
            return next((process for process in below if process.name() == "raylet"), None)
        except psutil.NoSuchProcess:
            return None


@contextmanager
def nodes() -> Iterator[Nodes]:
    """Run the cluster for the time of a block."""
    folder = Path(tempfile.mkdtemp(prefix="r-"))
    try:
        cluster = Nodes(folder)
        try:
            yield cluster
        finally:
            cluster.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
