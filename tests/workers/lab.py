"""A database, a cluster in memory, and dispatchers that come and go, for tests of the dispatcher."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import text, update

from prolu.spec import RunSpec
from prolu.spec.report import (
    CheckpointFile,
    CheckpointWritten,
    Progress,
    Report,
    Succeeded,
)
from service.settings import Settings
from service.store import queue
from service.store.db import Database
from service.store.models import AttemptRow, RunRow
from tests.workers.fake_cluster import FakeActor, FakeCluster
from workers.dispatcher import Dispatcher

SUCCEEDED = Succeeded(step=10, metrics={"l0": 3.0})


def spec(**changes: Any) -> RunSpec:
    return RunSpec.model_validate(
        {
            "data": {"kind": "synthetic", "d_in": 8},
            "sae": {"kind": "prolu", "d_sae": 16},
            "sparsity": {"kind": "l1", "coefficient": 0.001},
            "training": {"steps": 10},
            **changes,
        }
    )


def progress(done: int) -> Progress:
    return Progress(phase="training", done=done, total=10)


def checkpoint(actor: FakeActor, step: int) -> CheckpointWritten:
    attempt = actor.assignment.attempt
    return CheckpointWritten(
        step=step,
        tokens=step,
        path=f"runs/{attempt.run_id}/e{attempt.epoch}/step-{step}",
        files=[CheckpointFile(name="sae.safetensors", bytes=1, sha256="0" * 64)],
        final=False,
    )


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Lab:
    """A database, a fake cluster, and dispatchers that come and go."""

    def __init__(self, database: Database, folder: Path, owner_id: UUID) -> None:
        self.database = database
        self.cluster = FakeCluster()
        self.clock = Clock()
        self.folder = folder
        self.owner_id = owner_id
        self.dispatcher = self.new_dispatcher()

    def new_dispatcher(self, **changes: Any) -> Dispatcher:
        """Another dispatcher, beside the one that there is."""
        settings = Settings(data_dir=self.folder, poll_seconds=0.01, **{"lease_seconds": 60, **changes})
        return Dispatcher(self.database, self.cluster, settings, clock=self.clock)

    def succeed(self, **changes: Any) -> None:
        """The dispatcher was killed, its lead has run out, and another one takes its place."""
        self.expire_lead()
        self.dispatcher = self.new_dispatcher(**changes)

    def expire_lead(self) -> None:
        """What the passing of time would do."""
        with self.database.begin() as session:
            session.execute(text("UPDATE dispatcher SET lease_until = '2000-01-01 00:00:00.000000'"))

    def end_grace(self) -> None:
        """What the passing of time would do."""
        self.clock.now += 31

    def listen(self, seconds: float) -> None:
        """Let time pass in which the dispatcher polls."""
        until = self.clock.now + seconds
        while self.clock.now < until:
            self.clock.now += 10
            self.tick()

    def submit(self, **changes: Any) -> UUID:
        with self.database.begin() as session:
            return queue.submit_run(session, owner_id=self.owner_id, spec=spec(**changes), priority=50).id

    def submit_and_claim(self, *, holder: str = "another") -> UUID:
        """A run that a dispatcher has claimed, and started no actor for."""
        run_id = self.submit()
        with self.database.begin() as session:
            queue.claim(session, [run_id], holder=holder, lease_seconds=60)
        return run_id

    def training(self, **changes: Any) -> UUID:
        """A run that was started and has said that it trains."""
        run_id = self.submit(**changes)
        self.tick()
        self.say(progress(3))
        return run_id

    def make_old(self, *columns: str) -> None:
        """What the passing of time would do to the live attempts."""
        with self.database.begin() as session:
            session.execute(update(AttemptRow).values(dict.fromkeys(columns, datetime(2000, 1, 1, tzinfo=UTC))))

    def tick(self, times: int = 1) -> None:
        for _ in range(times):
            self.dispatcher.tick()

    def say(self, *reports: Report | Callable[[FakeActor], Report]) -> None:
        actor = self.cluster.only
        actor.say(*[report(actor) if callable(report) else report for report in reports])
        self.tick()

    def run(self, run_id: UUID) -> Any:
        with self.database.read() as session:
            return session.get_one(RunRow, run_id)

    def attempt(self, run_id: UUID) -> AttemptRow:
        """The first attempt at a run."""
        with self.database.read() as session:
            return session.get_one(AttemptRow, (run_id, 1))

    def state(self, run_id: UUID) -> str:
        return str(self.run(run_id).state)

    def counted(self, name: str, *, suffix: str = "total", **labels: str) -> float:
        """What the dispatcher's metrics say."""
        return self.dispatcher._metrics.registry.get_sample_value(f"prolu_{name}_{suffix}", labels) or 0.0

    def wish_cancelled(self, run_id: UUID) -> None:
        with self.database.begin() as session:
            queue.request_cancel(session, run_id)

    def end_backoff(self) -> None:
        """What the passing of time would do."""
        with self.database.begin() as session:
            session.execute(
                text("UPDATE runs SET not_before = '2000-01-01 00:00:00.000000' WHERE not_before IS NOT NULL")
            )

    def expire_leases(self) -> None:
        """What the passing of time would do."""
        with self.database.begin() as session:
            session.execute(text("UPDATE attempts SET lease_until = '2000-01-01 00:00:00.000000'"))


def already_ended() -> threading.Event:
    """For loops that shall go round once."""
    event = threading.Event()
    event.set()
    return event
