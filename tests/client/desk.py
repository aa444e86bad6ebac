"""A real service for the client's tests, and a desk that does the dispatcher's writing without Ray.

The service is a process of its own, on SQLite; only training is played: the desk claims runs and applies reports, as the
dispatcher does.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from prolu.client.wire import NodeRead
from prolu.spec.report import (
    BiasPopulation,
    BiasSnapshot,
    BiasStatistics,
    CheckpointFile,
    CheckpointWritten,
    Distribution,
    Failed,
    FailureClass,
    Histogram,
    MetricPoint,
    Progress,
    Report,
    Succeeded,
)
from service.settings import Settings
from service.store import queue, reports, situation
from service.store.db import Database
from service.store.models import AttemptRow, Base
from service.store.queue import Claim
from tests.service.store.operations import see
from workers.searching import Searcher

RUN: dict[str, Any] = {
    "name": "one",
    "data": {"kind": "synthetic", "d_in": 8, "n_features": 16, "active_features": 2.0},
    "sae": {"kind": "prolu", "d_sae": 32},
    "sparsity": {"kind": "l1", "coefficient": 0.001},
    "training": {"steps": 100},
}
SWEEP: dict[str, Any] = {
    "name": "two by two",
    "base": {key: value for key, value in RUN.items() if key != "name"},
    "variants": [
        {"name": "relu", "set": {"sae.kind": "relu"}},
        {"name": "prolu", "set": {"sae.kind": "prolu"}},
    ],
    "grid": {"sparsity.coefficient": [0.001, 0.002]},
}
WEIGHTS = b"weights" * 1000


@dataclass
class Desk:
    """The dispatcher's side of the service's database."""

    database: Database
    artifacts: Path

    def __post_init__(self) -> None:
        self._claims: dict[UUID, Claim] = {}
        self._seq: dict[UUID, int] = {}

    def claim(self) -> list[UUID]:
        """Take every run that waits, in the order of the queue."""
        with self.database.begin() as session:
            waiting = [run.run_id for run in sorted(situation.waiting(session), key=lambda run: run.run_id)]
            claims = queue.claim(session, waiting, holder="desk", lease_seconds=60)
        for claim in claims:
            self._claims[claim.run_id] = claim
            self._seq[claim.run_id] = 0
        return [claim.run_id for claim in claims]

    def search(self) -> None:
        """Have searches go on: tell of trials that have ended, ask for points."""
        Searcher(self.database, Settings()).go_on()

    def report(self, run: UUID, *said: Report) -> None:
        """Apply what an attempt would have said."""
        first = self._seq[run] + 1
        self._seq[run] += len(said)
        with self.database.begin() as session:
            stored = reports.apply(
                session,
                run,
                self._claims[run].epoch,
                list(enumerate(said, start=first)),
                lease_seconds=60,
                node="127.0.0.1/abcd",
            )
        assert stored == self._seq[run]

    def train(self, run: UUID) -> None:
        """Let a claimed run report a bit of everything, and succeed."""
        self.report(
            run,
            snapshot(0, 0.0),
            Progress(phase="training", done=50, total=100),
            MetricPoint(split="train", step=50, tokens=500, values={"l0": 9.0, "fvu": 0.5}),
            self.checkpoint(run, 50, final=False),
            snapshot(50, -0.5),
            snapshot(100, -1.0),
            self.checkpoint(run, 100, final=True),
            Succeeded(step=100, metrics={"l0": 8.0, "fvu": 0.25, "dead_fraction": 0.0}),
        )

    def fail(
        self, run: UUID, sentence: str = "The loss became NaN at step 7.", failure_class: FailureClass = "nan_loss"
    ) -> None:
        """Let a claimed run fail for good."""
        self.report(run, Failed(step=7, failure_class=failure_class, message=sentence, traceback_tail=""))

    def stretch(self, run: UUID, seconds: float) -> None:
        """Let the run's latest attempt, which has ended, have taken so long."""
        with self.database.begin() as session:
            attempt = session.get_one(AttemptRow, (run, self._claims[run].epoch))
            attempt.finished_at = attempt.started_at + timedelta(seconds=seconds)

    def checkpoint(
        self, run: UUID, step: int, *, final: bool, contents: Mapping[str, bytes] | None = None
    ) -> CheckpointWritten:
        """Write the files of a checkpoint as a worker would, and say so; `contents` are real ones, by name."""
        path = f"runs/{run}/e1/step-{step}"
        folder = self.artifacts / path
        folder.mkdir(parents=True)
        contents = contents or {"config.json": b"{}", "sae.safetensors": WEIGHTS + str(step).encode()}
        files = [
            CheckpointFile(name=name, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
            for name, content in contents.items()
        ]
        for name, content in contents.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
        manifest = {"version": 1, "step": step, "tokens": step, "files": [file.model_dump() for file in files]}
        (folder / "manifest.json").write_text(json.dumps(manifest))
        return CheckpointWritten(step=step, tokens=10 * step, path=path, files=files, final=final)

    def clear(self) -> None:
        """Forget everything but users and their tokens."""
        with self.database.begin() as session:
            for table in reversed(Base.metadata.sorted_tables):
                if table.name not in ("users", "tokens"):
                    session.execute(table.delete())

    def see_nodes(self) -> None:
        """Say what the cluster offers."""
        with self.database.begin() as session:
            see(session, NodeRead(name="127.0.0.1/abcd", cpus=2, gpus=0, memory_gb=8))


@dataclass(frozen=True)
class Running:
    """A service that answers."""

    url: str
    token: str
    desk: Desk


@contextmanager
def running_service(folder: Path, *, database_url: str = "") -> Iterator[Running]:
    """`python -m service` on SQLite below `folder`, or on another database, on a free port of loopback."""
    noted = folder / "endpoint.json"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PROLU_")}
    ours = {"PROLU_DATA_DIR": str(folder), "PROLU_PORT": "0", "PROLU_HUB": "offline"}
    if database_url:
        ours["PROLU_DATABASE_URL"] = database_url
    noted.unlink(missing_ok=True)  # of a service that ran here before
    settings = Settings(data_dir=folder, database_url=database_url)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "service.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "service", "--endpoint-file", str(noted)],
            env=environment | ours,
            stdout=log,
            stderr=log,
        )
    try:
        while not noted.exists():
            if process.poll() is not None:
                raise RuntimeError(f"The service ended: {(folder / 'service.log').read_text()}")
            time.sleep(0.02)
        database = Database(settings.database_url)
        desk = Desk(database, Path(settings.artifact_root))
        yield Running(json.loads(noted.read_text())["url"], settings.token_file.read_text().strip(), desk)
        database.dispose()
    finally:
        process.terminate()
        process.wait(30)


def snapshot(step: int, middle: float) -> BiasSnapshot:
    """Biases around `middle`; all zero at zero."""
    spread = 0.5 if middle else 0.0
    low, high = middle - spread, middle + spread
    edges = [low, middle, high] if spread else [-0.5, 0.5]
    values = Distribution(
        mean=middle,
        std=spread / 2,
        min=low,
        max=high,
        quantiles={"0.01": low, "0.05": low, "0.5": middle, "0.95": high, "0.99": high},
        histogram=Histogram(edges=edges, counts=[16] * (len(edges) - 1) if spread else [32]),
    )
    population = BiasPopulation(
        count=32,
        fraction_negative=0.9 if middle else 0.0,
        fraction_zero=0.0 if middle else 1.0,
        fraction_positive=0.1 if middle else 0.0,
        bias=values,
        threshold=values,
    )
    return BiasSnapshot(
        step=step,
        tokens=10 * step,
        statistics=BiasStatistics(all=population, alive=population, dead=population),
    )
