"""What `prolu up` runs: Ray's head, the API and the dispatcher, on this machine, with everything in one data directory.

    <data_dir>/logs/{ray,api,dispatcher}.log    what each child says
    <data_dir>/ray -> /tmp/prolu-ray-...        Ray's session, for as long as it runs
    <data_dir>/ray_token, token                 secrets, mode 600: for Ray, and for the API (which makes its own)
    <data_dir>/endpoint.json, up.lock           see `holding`

With PROLU_RAY_ADDRESS or RAY_ADDRESS set, the dispatcher joins that cluster and no Ray is started here.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx

from prolu.client.locate import TOKEN_FILE
from prolu.client.up.dispatching import Dispatching
from prolu.client.up.holding import announced, hold
from prolu.client.up.ray_head import private_ray
from prolu.client.up.supervisor import Child, Supervisor

_API_GRACE_SECONDS = 10.0
_DISPATCHER_GRACE_SECONDS = 40.0
_DISPATCHING_SECONDS = 60.0
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

    Raises Refused or Held before anything has started; GivenUp, or WrongSettings of it, after everything was stopped.
    """
    missing = [name for name in _NEEDED_MODULES if importlib.util.find_spec(name) is None]
    if missing:
        raise Refused(
            f"`prolu up` needs packages that are not installed ({', '.join(missing)}); "
            "install them with: pip install 'prolu[server,train]'"
        )
    _make_folder(wishes.data_dir)
    with ExitStack() as stack:
        lock = stack.enter_context(hold(wishes.data_dir, say=say))
        port = free_port(wishes.host, wishes.port)
        url = local_url(wishes.host, port)
        children = stack.enter_context(_children(wishes, url, port, os.environ))

        def on_ready() -> None:
            stack.enter_context(announced(wishes.data_dir, url))
            _greet(wishes.data_dir, url, say)

        say("starting " + ", ".join(child.name for child in children))
        Supervisor(children, say=say, keep_open=[lock]).run(on_ready)
        say("all stopped; runs that were training go on from their last checkpoint at the next `prolu up`")


def _make_folder(data_dir: Path) -> None:
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=data_dir):
            pass
    except OSError as error:
        raise Refused(
            f"--data-dir (or PROLU_DATA_DIR) must be a folder that can be written to; got {str(data_dir)!r} "
            f"({error.strerror or error}); name another."
        ) from None


def free_port(host: str, port: int) -> int:
    """`port` if nobody listens there, any free one for 0. Raises Refused."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            return int(probe.getsockname()[1])
    except OSError as error:
        raise Refused(
            f"Cannot listen on {host} port {port} ({error}); choose another with --port, or --port 0 for any free one."
        ) from None


def local_url(host: str, port: int) -> str:
    """The address for clients on this machine."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 nothing is bound here
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


@contextmanager
def _children(wishes: Wishes, url: str, port: int, environment: Mapping[str, str]) -> Iterator[list[Child]]:
    """The children in the order in which they start."""
    settings = {
        **environment,
        "PROLU_DATA_DIR": str(wishes.data_dir),
        "PROLU_HOST": wishes.host,
        "PROLU_PORT": str(port),
        "PYTHONUNBUFFERED": "1",
    }
    logs = wishes.data_dir / "logs"
    dispatching = Dispatching(url, settings, since=datetime.now(UTC))
    api = Child(
        name="api",
        argv=(sys.executable, "-P", "-m", "service"),
        env=settings,
        log=logs / "api.log",
        grace_seconds=_API_GRACE_SECONDS,
        ready=lambda _log: _answers(f"{url}/readyz"),
    )
    if environment.get("PROLU_RAY_ADDRESS") or environment.get("RAY_ADDRESS"):
        yield [api, _dispatcher(settings, logs, dispatching, after=("api",), falls_with=())]
        return
    with private_ray(wishes.data_dir, cpus=wishes.cpus, gpus=wishes.gpus, environment=environment) as ray:
        told = {**settings, **ray.surroundings, "PROLU_RAY_ADDRESS": ray.address}
        yield [ray.child, api, _dispatcher(told, logs, dispatching, after=("ray", "api"), falls_with=("ray",))]


def _dispatcher(
    settings: Mapping[str, str],
    logs: Path,
    dispatching: Callable[[str], bool],
    *,
    after: tuple[str, ...],
    falls_with: tuple[str, ...],
) -> Child:
    return Child(
        name="dispatcher",
        argv=(sys.executable, "-P", "-m", "workers"),
        env={**settings, "PROLU_ON_EXIT": "drain"},
        log=logs / "dispatcher.log",
        grace_seconds=_DISPATCHER_GRACE_SECONDS,
        ready=dispatching,
        ready_seconds=_DISPATCHING_SECONDS,
        may_be_late=True,
        after=after,
        falls_with=falls_with,
    )


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2.0, trust_env=False).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def _greet(data_dir: Path, url: str, say: Callable[[str], None]) -> None:
    say(f"prolu is up at {url}")
    say(f"  token    {data_dir / TOKEN_FILE} (the client on this machine finds it)")
    say(f"  logs     {data_dir / 'logs'}/*.log")
    say("  submit   prolu submit RUN.yaml   or   prolu sweep SWEEP.yaml")
    say("  stop     Ctrl-C")
