"""A real Ray head for tests: a child process on loopback, with token auth, that ends with the test session."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

_FOLDER = pytest.StashKey[Path]()


def free_port() -> int:
    """A port that nobody listens on right now, outside the ranges that Ray gives to its own parts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_ray_head(folder: Path, *, cpus: int, gpus: int = 0) -> tuple[subprocess.Popen[bytes], str]:
    """Start `ray start --head` and return the process and its address once it serves. Token auth comes from the environment."""
    port = free_port()
    log = folder / "ray.log"
    with log.open("wb") as output:
        head = subprocess.Popen(
            [
                str(Path(sys.executable).with_name("ray")),
                "start",
                "--head",
                "--block",
                "--node-ip-address=127.0.0.1",
                f"--port={port}",
                "--min-worker-port=0",
                "--max-worker-port=0",
                f"--dashboard-agent-listen-port={free_port()}",
                f"--num-cpus={cpus}",
                f"--num-gpus={gpus}",
                "--include-dashboard=false",
                "--disable-usage-stats",
                f"--temp-dir={folder / 'ray'}",
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + 60
    while b"Ray runtime started" not in log.read_bytes():
        if head.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"Ray did not start: {log.read_text()[-2000:]}")
        time.sleep(0.1)
    return head, f"127.0.0.1:{port}"


def end_ray_head(head: subprocess.Popen[bytes]) -> None:
    """End the head and everything it started."""
    head.send_signal(signal.SIGTERM)
    try:
        head.wait(15)
    except subprocess.TimeoutExpired:
        os.killpg(head.pid, signal.SIGKILL)
        head.wait()


def pytest_configure(config: pytest.Config) -> None:
    """Settle Ray's authentication before anything imports ray, which reads its environment once."""
    # A short path: the sockets below it may have 107 characters at most.
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    (folder / "token").write_text(secrets.token_hex(32))
    os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(folder / "token"))
    config.stash[_FOLDER] = folder


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave nothing behind."""
    shutil.rmtree(config.stash[_FOLDER], ignore_errors=True)


@pytest.fixture(scope="session")
def ray_address(pytestconfig: pytest.Config) -> Iterator[str]:
    """Address of a Ray head with four CPUs, shared by all tests of the session; each test takes a namespace of its own.

    Its three GPUs are numbers: Ray hands them out as it does real ones, and nothing can be computed on them.
    """
    head, address = start_ray_head(pytestconfig.stash[_FOLDER], cpus=4, gpus=3)
    yield address
    end_ray_head(head)
