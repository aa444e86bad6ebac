"""The real service as a process of its own: `python -m service` on a free port."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.queue.databases import url_of
from service.store.db import Database

_READY_SECONDS = 60


@dataclass(frozen=True)
class Service:
    """Where the service listens, and the administrator's token."""

    host: str
    port: int
    token: str
    pid: int


@contextmanager
def service_on(database: Database) -> Iterator[Service]:
    """Serve the database until the end of the block, and no other: settings of the environment do not count."""
    with tempfile.TemporaryDirectory(prefix="prolu-bench-service-") as home:
        endpoint, log = Path(home) / "endpoint.json", Path(home) / "log"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PROLU_")}
        environment |= {"PROLU_DATA_DIR": home, "PROLU_DATABASE_URL": url_of(database), "PROLU_PORT": "0"}
        with log.open("wb") as written:
            command = [sys.executable, "-m", "service", "--endpoint-file", str(endpoint)]
            process = subprocess.Popen(command, env=environment, stderr=written)
        try:
            _wait_for(endpoint, process, log)
            address = urlsplit(json.loads(endpoint.read_text())["url"])
            token = (Path(home) / "token").read_text().strip()
            yield Service(address.hostname or "", address.port or 0, token, process.pid)
        finally:
            process.terminate()
            process.wait(30)


def _wait_for(endpoint: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while not endpoint.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"The service did not start:\n{log.read_text()}")
        time.sleep(0.05)
