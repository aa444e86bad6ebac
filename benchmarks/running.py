"""Run sweep files on a private service, and go on where an interrupted call stopped."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from prolu.client import Client, NotFound
from prolu.client.cli.watching import follow_sweep
from prolu.client.wire import SweepRead
from prolu.spec import SweepSpec, digest_of, parse, validate


def read_sweep(path: Path) -> SweepSpec:
    """Return the sweep in a YAML file. Raises SpecError."""
    return validate(parse(path.read_text(encoding="utf-8")), SweepSpec)


def submit_or_find(client: Client, spec: SweepSpec, notes: Path) -> SweepRead:
    """Submit a sweep, or find the one that an earlier call submitted; `notes` is where its id is kept.

    A sweep of another content, or one of which a run has failed or was cancelled, is submitted anew.
    """
    digest = digest_of(spec.model_dump(mode="json"))
    if notes.exists():
        note = json.loads(notes.read_text(encoding="utf-8"))
        if note["digest"] == digest:
            try:
                found = client.sweeps.get(note["sweep"])
            except NotFound:
                found = None
            if found is not None and not found.states.keys() & {"failed", "cancelled"}:
                print(f"Going on with sweep {found.id} ({found.states.get('succeeded', 0)} of {found.count} runs done)")
                return found
    submitted = client.sweeps.submit(spec)
    notes.parent.mkdir(parents=True, exist_ok=True)
    notes.write_text(json.dumps({"sweep": str(submitted.id), "digest": digest}) + "\n", encoding="utf-8")
    print(f"Submitted sweep {submitted.id} with {submitted.count} runs to {client.url}")
    return submitted


def finish(client: Client, sweep: SweepRead) -> bool:
    """Follow a sweep to its end; return whether every run succeeded."""
    return follow_sweep(client, sweep.id)


def training_seconds(client: Client, sweep: SweepRead) -> float:
    """Return the seconds between the first run's start and the last one's end."""
    runs = client.sweeps.runs(sweep.id)
    starts = [run.started_at for run in runs if run.started_at]
    ends = [run.finished_at for run in runs if run.finished_at]
    return (max(ends) - min(starts)).total_seconds() if starts and ends else 0.0


class CallTimes:
    """How long the calls took that together made a result, since an interrupted one goes on later."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._began = time.monotonic()
        self._former: list[float] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []

    def keep(self) -> float:
        """Write down this call and return the seconds of all."""
        calls = [*self._former, round(time.monotonic() - self._began, 1)]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps(calls) + "\n", encoding="utf-8")
        return sum(calls)


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON for people and programs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
