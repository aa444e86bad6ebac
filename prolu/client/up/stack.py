"""What `prolu up` runs: Ray's head, the API and the dispatcher, on this machine, with everything in one data directory.

    <data_dir>/logs/{ray,api,dispatcher}.log    what each child says
    <data_dir>/ray -> /tmp/prolu-ray-...        Ray's session; its sockets need a short path
    <data_dir>/ray_token, token                 secrets, mode 600: for Ray, and for the API (made by the API)
    <data_dir>/endpoint.json, up.lock           see `holding`

Ray's head is a child of its own, so that the dispatcher may die and come back while training goes on. It listens on loopback,
asks for a token, and its environment holds none of our settings: workers are told all they need by the dispatcher.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from prolu.client.locate import TOKEN_FILE
from prolu.client.up.holding import announced, hold, write_private
from prolu.client.up.supervisor import Child, Supervisor

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8321

_RAY_GRACE_SECONDS = 10.0
_API_GRACE_SECONDS = 10.0
_DISPATCHER_GRACE_SECONDS = 40.0
_OBJECT_STORE_BYTES = 100_000_000  # activations never pass through Ray's object store
_RAY_STARTED = "Ray runtime started"
_SESSION_PREFIX = "prolu-ray-"
_LONGEST_TEMPORARY_FOLDER = 24  # a unix socket's path has at most 107 bytes, of which Ray takes some 65
_NEEDED_MODULES = ("fastapi", "sqlalchemy", "ray", "torch")


class Refused(Exception):
    """The stack cannot start as asked; the sentence says why and what to do."""


@dataclass(frozen=True)
class Wishes:
    """What the command line says."""

    data_dir: Path
    host: str
    port: int
    """0 takes any free one."""
    cpus: int | None
    gpus: int | None


def up(wishes: Wishes, *, say: Callable[[str], None]) -> None:
    """Run the stack until a signal ends it.

    Raises Refused or Held before anything has started, GivenUp after everything was stopped.
    """
    missing = [name for name in _NEEDED_MODULES if importlib.util.find_spec(name) is None]
    if missing:
        raise Refused(
            f"`prolu up` needs packages that are not installed ({', '.join(missing)}); "
            "install them with: pip install 'prolu[server,train]'"
        )
    with ExitStack() as stack:
        lock = stack.enter_context(hold(wishes.data_dir, say=say))
        port = _free_port(wishes.host, wishes.port)
        url = _url(wishes.host, port)
        children = stack.enter_context(_children(wishes, url, port, os.environ))

        def on_ready() -> None:
            stack.enter_context(announced(wishes.data_dir, url))
            _greet(wishes.data_dir, url, say)

        Supervisor(children, say=say, keep_open=[lock]).run(on_ready)
        say("all stopped; runs that were training go on from their last checkpoint at the next `prolu up`")


def _greet(data_dir: Path, url: str, say: Callable[[str], None]) -> None:
    say(f"prolu is up at {url}")
    say(f"  token    {data_dir / TOKEN_FILE} (the client on this machine finds it)")
    say(f"  logs     {data_dir / 'logs'}/*.log")
    say("  submit   prolu submit RUN.yaml   or   prolu sweep SWEEP.yaml")
    say("  stop     Ctrl-C")


@contextmanager
def _children(wishes: Wishes, url: str, port: int, environment: Mapping[str, str]) -> Iterator[list[Child]]:
    settings = {
        **environment,
        "PROLU_DATA_DIR": str(wishes.data_dir),
        "PROLU_HOST": wishes.host,
        "PROLU_PORT": str(port),
        "PYTHONUNBUFFERED": "1",
    }
    logs = wishes.data_dir / "logs"
    api = Child(
        name="api",
        argv=(sys.executable, "-P", "-m", "service"),
        env=settings,
        log=logs / "api.log",
        grace_seconds=_API_GRACE_SECONDS,
        ready=lambda _log: _answers(f"{url}/readyz"),
    )
    if environment.get("PROLU_RAY_ADDRESS") or environment.get("RAY_ADDRESS"):
        yield [api, _dispatcher(settings, logs, after=("api",), falls_with=())]
        return
    with _session(wishes.data_dir) as session:
        ray_port = _free_port(DEFAULT_HOST, 0)
        surroundings = _ray_surroundings(wishes.data_dir)
        ray = ray_head(wishes, session, ray_port, _without_our_settings(environment) | surroundings)
        told = settings | surroundings | {"PROLU_RAY_ADDRESS": f"{DEFAULT_HOST}:{ray_port}"}
        yield [ray, api, _dispatcher(told, logs, after=("ray", "api"), falls_with=("ray",))]


def ray_head(wishes: Wishes, session: Path, port: int, environment: Mapping[str, str]) -> Child:
    """Ray's head node: loopback only, no dashboard, its own session folder, random ports but for its own."""
    options = [
        "start",
        "--head",
        "--block",
        f"--node-ip-address={DEFAULT_HOST}",
        f"--port={port}",
        "--include-dashboard=false",
        f"--dashboard-host={DEFAULT_HOST}",
        "--dashboard-agent-listen-port=0",
        "--include-log-monitor=false",
        f"--object-store-memory={_OBJECT_STORE_BYTES}",
        f"--temp-dir={session}",
        "--disable-usage-stats",
        "--log-style=record",
        "--log-color=false",
    ]
    if wishes.cpus is not None:
        options.append(f"--num-cpus={wishes.cpus}")
    if wishes.gpus is not None:
        options.append(f"--num-gpus={wishes.gpus}")
    return Child(
        name="ray",
        argv=(str(Path(sys.executable).with_name("ray")), *options),
        env=environment,
        log=wishes.data_dir / "logs" / "ray.log",
        grace_seconds=_RAY_GRACE_SECONDS,
        ready=lambda log: _RAY_STARTED in log,
    )


def _dispatcher(
    settings: Mapping[str, str], logs: Path, *, after: tuple[str, ...], falls_with: tuple[str, ...]
) -> Child:
    return Child(
        name="dispatcher",
        argv=(sys.executable, "-P", "-m", "workers"),
        env={**settings, "PROLU_ON_EXIT": "drain"},
        log=logs / "dispatcher.log",
        grace_seconds=_DISPATCHER_GRACE_SECONDS,
        after=after,
        falls_with=falls_with,
    )


def _ray_surroundings(data_dir: Path) -> dict[str, str]:
    """What Ray's head and its drivers must agree on."""
    token = data_dir / "ray_token"
    if not token.exists():
        write_private(token, secrets.token_hex(32))
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        # Ray maps 127.0.0.1 to the machine's outward address, unless it believes that it cannot form clusters.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",  # the dispatcher has drained already
    }


def _without_our_settings(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not name.startswith("PROLU_")}


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
    parent = usual if len(usual) <= _LONGEST_TEMPORARY_FOLDER else "/tmp"  # noqa: S108
    session = Path(tempfile.mkdtemp(prefix=_SESSION_PREFIX, dir=parent))
    link.symlink_to(session)
    yield session
    shutil.rmtree(session, ignore_errors=True)
    link.unlink()


def _free_port(host: str, port: int) -> int:
    """`port` if nobody listens there, any free one for 0. Raises Refused."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            return int(probe.getsockname()[1])
    except (OSError, OverflowError) as error:
        raise Refused(
            f"Cannot listen on {host} port {port} ({error}); choose another with --port, or --port 0 for any free one."
        ) from None


def _url(host: str, port: int) -> str:
    """The address for clients on this machine."""
    reachable = {"0.0.0.0": DEFAULT_HOST, "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2.0, trust_env=False).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
