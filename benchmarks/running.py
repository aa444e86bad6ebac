"""Run sweep files on a private service, and go on where an interrupted call stopped."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from prolu.client import Client, NotFound
from prolu.client.cli.watching import follow_sweep
from prolu.client.runs import TERMINAL
from prolu.client.wire import SweepRead
from prolu.spec import SweepSpec, digest_of, parse, validate


def read_sweep(path: Path) -> SweepSpec:
    """Return the sweep in a YAML file. Raises SpecError."""
    return validate(parse(path.read_text(encoding="utf-8")), SweepSpec)


def digest_of_points(client: Client, spec: SweepSpec) -> str:
    """Return a digest of what the runs of a sweep are, defaults and all: it changes when a default does."""
    return digest_of([point.digest for point in client.sweeps.preview(spec).points])


def submit_or_find(client: Client, spec: SweepSpec, notes: Path) -> SweepRead:
    """Submit a sweep, or find the one that an earlier call submitted; `notes` is where its id is kept.

    A sweep whose runs are others by now is submitted anew; to train the same again after a change of code, remove `notes`.
    """
    digest = digest_of_points(client, spec)
    if notes.exists():
        note = json.loads(notes.read_text(encoding="utf-8"))
        if note["digest"] == digest:
            try:
                found = client.sweeps.get(note["sweep"])
            except NotFound:
                pass
            else:
                print(f"Going on with sweep {found.id} ({found.states.get('succeeded', 0)} of {found.count} runs done)")
                if broken := sum(found.states.get(state, 0) for state in ("failed", "cancelled")):
                    print(f"{broken} of its runs failed or were cancelled; remove {notes} to train all of it anew")
                return found
    submitted = client.sweeps.submit(spec)
    notes.parent.mkdir(parents=True, exist_ok=True)
    notes.write_text(json.dumps({"sweep": str(submitted.id), "digest": digest}) + "\n", encoding="utf-8")
    print(f"Submitted sweep {submitted.id} with {submitted.count} runs to {client.url}")
    return submitted


def is_finished(sweep: SweepRead) -> bool:
    """Whether no run of a sweep, as it was read, has anything left to do."""
    return sum(sweep.states.get(state, 0) for state in TERMINAL) == sweep.count


def finish(client: Client, sweep: SweepRead) -> bool:
    """Follow a sweep to its end; return whether every run succeeded."""
    return follow_sweep(client, sweep.id)


def median_run_seconds(client: Client, sweep: SweepRead) -> float:
    """Return how long a run of a sweep took, in seconds of its attempts, starts of workers included."""
    return median(client.runs.attempt_seconds(run.id) for run in client.sweeps.runs(sweep.id))


class CallTimes:
    """How long the calls took that together made a result, since an interrupted one goes on later."""

    def __init__(self, former: list[float]) -> None:
        self._began = time.monotonic()
        self._former = former
        self.counts = True
        """Whether this call adds to the result; false for one that finds all of it done."""

    @property
    def calls(self) -> list[float]:
        """The seconds of each call that counts, this one included."""
        now = round(time.monotonic() - self._began, 1)
        return [*self._former, now] if self.counts else self._former


@contextmanager
def timed(path: Path) -> Iterator[CallTimes]:
    """Time a call, and keep the times of all calls in a file, however this one ends."""
    times = CallTimes(json.loads(path.read_text(encoding="utf-8")) if path.exists() else [])
    try:
        yield times
    finally:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(times.calls) + "\n", encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON for people and programs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
