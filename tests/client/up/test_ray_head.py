"""Ray's head as a child of `prolu up`: private, on loopback, and gone without a trace."""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from prolu.client.up.guardian import descendants

pytestmark = pytest.mark.ray

UP = """
import os, sys
from pathlib import Path
from prolu.client.up.ray_head import private_ray
from prolu.client.up.supervisor import Supervisor

def say(*words):
    print(*words, flush=True)

with private_ray(Path(sys.argv[1]), cpus=1, gpus=0, environment=os.environ) as head:
    Supervisor([head.child], say=say).run(lambda: say("ready", head.address))
"""
DRIVER = """
import json, os, sys
import ray

ray.init(address=sys.argv[1], namespace="test", log_to_driver=False, logging_level="error")

@ray.remote(num_cpus=0)
class Witness:
    def tell(self):
        return {"pid": os.getpid(), "environment": dict(os.environ)}

print(json.dumps(ray.get(Witness.options(name="witness", lifetime="detached").remote().tell.remote())))
"""


@dataclass
class Head:
    """A supervised Ray head with a detached actor in it."""

    supervisor: subprocess.Popen[str]
    address: str
    witness: dict[str, object]
    pids: set[int]

    def gone(self) -> bool:
        """Wait until no process is left of all that once ran; pidfds become readable when their process ends."""
        for descriptor in self._descriptors:
            readable, _, _ = select.select([descriptor], [], [], 30)
            if not readable:
                return False
            os.close(descriptor)
        return True

    def __post_init__(self) -> None:
        self._descriptors = [os.pidfd_open(pid) for pid in self.pids]


@pytest.fixture
def head(tmp_path: Path) -> Iterator[Head]:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
        "PROLU_DATABASE_URL": "postgresql://secret",
        "PROLU_TOKEN": "secret",
    }
    supervisor = subprocess.Popen(
        [sys.executable, "-c", UP, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    try:
        assert supervisor.stdout is not None
        word, address = supervisor.stdout.readline().split()
        assert word == "ready"
        agreed = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(tmp_path / "ray_token"),
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        }
        driver = subprocess.run(
            [sys.executable, "-c", DRIVER, address],
            env=environment | agreed,
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        yield Head(supervisor, address, json.loads(driver.stdout), descendants(supervisor.pid))
    finally:
        if supervisor.poll() is None:
            supervisor.kill()
        supervisor.communicate()
        if (tmp_path / "ray").is_symlink():
            shutil.rmtree((tmp_path / "ray").readlink())


def test_workers_see_none_of_our_settings_and_everything_ends_in_order(head: Head, tmp_path: Path) -> None:
    environment = head.witness["environment"]
    assert isinstance(environment, dict)
    assert not [name for name in environment if name.startswith("PROLU_")]
    assert environment["RAY_AUTH_MODE"] == "token"
    assert head.witness["pid"] in head.pids
    assert listening(head.pids) <= {"127.0.0.1"}
    session = (tmp_path / "ray").readlink()

    head.supervisor.send_signal(signal.SIGTERM)
    assert head.supervisor.wait(60) == 0
    assert head.gone()
    assert not session.exists()
    assert not (tmp_path / "ray").is_symlink()


def test_raylet_agents_and_workers_all_end_when_the_supervisor_is_killed(head: Head) -> None:
    head.supervisor.kill()
    assert head.gone()


def listening(pids: set[int]) -> set[str]:
    """The IPv4 addresses on which these processes listen for TCP connections."""
    sockets = set()
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            try:
                target = str(descriptor.readlink())
            except FileNotFoundError:
                continue
            if target.startswith("socket:["):
                sockets.add(target[8:-1])
    addresses = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == "0A" and inode in sockets:
                last_word = local.partition(":")[0][-8:]
                addresses.add(".".join(str(byte) for byte in reversed(bytes.fromhex(last_word))))
    return addresses
