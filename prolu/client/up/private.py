"""A whole service for the time of a `with` block: for demonstrations, benchmarks and notebooks. Not for a lab.

It is `prolu up` as a child process, so what runs is what a person would run.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prolu.client.errors import ConnectionFailed
from prolu.client.locate import ENDPOINT_FILE, TOKEN_FILE
from prolu.client.up import guardian

_START_SECONDS = 180.0
_STOP_SECONDS = 75.0


@contextmanager
def private_service(data_dir: Path) -> Iterator[tuple[str, str]]:
    """Run `prolu up` with its data in `data_dir`; yield the address and the token; stop all of it at the end.

    It listens on a free port and reads no settings of other services. A guardian stands between, so that nothing goes on
    if this process is killed. Raises ConnectionFailed if it is not ready in time.

    Example: `with private_service(Path("build/mine")) as (url, token), Client(url, token) as client: ...`
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    former = _read_endpoint(data_dir)
    lifeline, held = os.pipe()
    up = [sys.executable, "-P", "-m", "prolu.client.cli", "up", "--data-dir", str(data_dir), "--port", "0"]
    service = subprocess.Popen(  # noqa: S603 our own arguments
        [sys.executable, "-I", "-S", guardian.__file__, str(_STOP_SECONDS), *up],
        stdin=lifeline,
        env=_surroundings(),
        start_new_session=True,  # Ctrl-C is for this process, which then stops the service in order
    )
    os.close(lifeline)
    try:
        url = _wait_for_endpoint(service, data_dir, former)
        yield url, (data_dir / TOKEN_FILE).read_text(encoding="utf-8").strip()
    finally:
        service.send_signal(signal.SIGTERM)
        service.wait()
        os.close(held)


def _surroundings() -> dict[str, str]:
    return {
        name: value for name, value in os.environ.items() if not name.startswith("PROLU_") and name != "RAY_ADDRESS"
    }


def _read_endpoint(data_dir: Path) -> str | None:
    try:
        return (data_dir / ENDPOINT_FILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def _wait_for_endpoint(service: subprocess.Popen[bytes], data_dir: Path, former: str | None) -> str:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if (found := _read_endpoint(data_dir)) is not None and found != former:
            return str(json.loads(found)["url"])
        if service.poll() is not None:
            raise ConnectionFailed("`prolu up` ended before it was ready; what it said stands above.")
        time.sleep(0.2)
    raise ConnectionFailed(f"`prolu up` was not ready within {_START_SECONDS:g} s; look into {data_dir / 'logs'}.")
