"""Ray's head as a private child: on loopback, behind a token, with none of our settings in its environment.

A child of `prolu up` and not of the dispatcher, so that the dispatcher may die and come back while training goes on.
Ray is reached by its command alone; nothing here imports it.
"""

from __future__ import annotations

import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prolu.client.up.holding import write_private
from prolu.client.up.supervisor import Child

_LOOPBACK = "127.0.0.1"
_GRACE_SECONDS = 10.0
_OBJECT_STORE_BYTES = 100_000_000  # activations never pass through Ray's object store
_STARTED = "Ray runtime started"
_SESSION_PREFIX = "prolu-ray-"
_LONGEST_TEMPORARY_FOLDER = 24  # a unix socket's path has at most 107 bytes, of which Ray takes some 65


@dataclass(frozen=True)
class RayHead:
    """The child, and what its drivers need to reach it."""

    child: Child
    address: str
    surroundings: Mapping[str, str]
    """Environment variables on which Ray's head and its drivers must agree."""


@contextmanager
def private_ray(
    data_dir: Path, *, cpus: int | None, gpus: int | None, environment: Mapping[str, str]
) -> Iterator[RayHead]:
    """A head node for one data directory: its token below it, its session in a short temporary folder, a free port."""
    surroundings = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(_token(data_dir)),
        "RAY_USAGE_STATS_ENABLED": "0",
        # Ray maps 127.0.0.1 to the machine's outward address, unless it believes that it cannot form clusters.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",  # the dispatcher has drained already
    }
    theirs = {name: value for name, value in environment.items() if not name.startswith("PROLU_")}
    port = _free_port()
    with _session(data_dir) as session:
        child = Child(
            name="ray",
            argv=(str(Path(sys.executable).with_name("ray")), *_options(session, port, cpus=cpus, gpus=gpus)),
            env={**theirs, **surroundings},
            log=data_dir / "logs" / "ray.log",
            grace_seconds=_GRACE_SECONDS,
            ready=lambda log: _STARTED in log,
        )
        yield RayHead(child, f"{_LOOPBACK}:{port}", surroundings)


def _options(session: Path, port: int, *, cpus: int | None, gpus: int | None) -> list[str]:
    options = [
        "start",
        "--head",
        "--block",
        f"--node-ip-address={_LOOPBACK}",
        f"--port={port}",
        "--min-worker-port=0",
        "--max-worker-port=0",
        "--include-dashboard=false",
        f"--dashboard-host={_LOOPBACK}",
        "--dashboard-agent-listen-port=0",
        "--include-log-monitor=false",
        f"--object-store-memory={_OBJECT_STORE_BYTES}",
        f"--temp-dir={session}",
        "--disable-usage-stats",
        "--log-style=record",
        "--log-color=false",
    ]
    if cpus is not None:
        options.append(f"--num-cpus={cpus}")
    if gpus is not None:
        options.append(f"--num-gpus={gpus}")
    return options


def _token(data_dir: Path) -> Path:
    token = data_dir / "ray_token"
    if not token.exists():
        write_private(token, secrets.token_hex(32))
    return token


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        return int(probe.getsockname()[1])


@contextmanager
def _session(data_dir: Path) -> Iterator[Path]:
    """A folder for Ray's session, its path short enough for sockets; removed after a good end, or by the next `prolu up`."""
    link = data_dir / "ray"
    if link.is_symlink():
        former = link.readlink()
        if former.name.startswith(_SESSION_PREFIX):
            shutil.rmtree(former, ignore_errors=True)
        link.unlink()
    usual = tempfile.gettempdir()
    parent = usual if len(usual) <= _LONGEST_TEMPORARY_FOLDER else "/tmp"  # noqa: S108 a fresh folder is made in it
    session = Path(tempfile.mkdtemp(prefix=_SESSION_PREFIX, dir=parent))
    link.symlink_to(session)
    yield session
    shutil.rmtree(session, ignore_errors=True)
    link.unlink()
