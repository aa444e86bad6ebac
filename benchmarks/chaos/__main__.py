"""`make chaos`: run small trainings while a seeded adversary disturbs everything around them, and count what was harmed.

The suite runs in a process of its own, below a guardian that lets nothing outlive it, with a small disk mounted that only
its processes see.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import FrameType

from benchmarks.chaos.databases import KINDS
from benchmarks.chaos.disk import with_small_disk
from benchmarks.chaos.nodes import surroundings
from benchmarks.chaos.suite import Wishes
from prolu.client.up import guardian

_GRACE_SECONDS = 90.0


def main() -> int:
    """Run the suite. Returns 0 if nothing was lost, duplicated or wrong, else 1."""
    options = _options()
    kinds = list(KINDS) if options.database == "both" else [options.database]
    with tempfile.TemporaryDirectory(prefix="chaos-", dir="/tmp") as folder:  # a short path: Ray has sockets below it
        Path(folder).chmod(0o711)  # PostgreSQL has its data below it, and is another user where we are root
        disk = Path(folder, "disk")
        disk.mkdir()
        wishes = Wishes(
            options.seed, options.runs, kinds, options.minutes, options.pause, str(disk), str(options.output.absolute())
        )
        suite = [sys.executable, "-m", "benchmarks.chaos.suite", json.dumps(wishes._asdict())]
        environment = {**_neutral_environment(), **surroundings(Path(folder)), "TMPDIR": folder}
        return _guarded([*with_small_disk(disk), *suite], environment)


def _neutral_environment() -> dict[str, str]:
    """The environment without what it says of other services and clusters."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith("PROLU_") and name != "RAY_ADDRESS"
    }


def _guarded(command: list[str], environment: dict[str, str]) -> int:
    lifeline, held = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", guardian.__file__, str(_GRACE_SECONDS), *command],
        stdin=lifeline,
        env=environment,
        start_new_session=True,
    )
    os.close(lifeline)

    def end(_signal: int, _frame: FrameType | None) -> None:
        process.send_signal(signal.SIGTERM)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    try:
        return process.wait()
    finally:
        os.close(held)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--seed", type=int, default=1, help="of what is done, when and to whom (1)")
    parser.add_argument("--database", choices=[*KINDS, "both"], default="both")
    parser.add_argument("--runs", type=int, default=40, help="runs per database, a third of them as a sweep (40)")
    parser.add_argument("--minutes", type=float, default=15.0, help="a run that is not done by then is lost (15)")
    parser.add_argument("--pause", type=float, default=7.0, help="mean seconds between two disturbances (7)")
    parser.add_argument("--output", type=Path, default=Path("build/bench/chaos.json"), help="logs go beside it")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
