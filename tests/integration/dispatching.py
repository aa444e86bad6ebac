"""A dispatcher on a real Ray, driven by a test, and the small run that it trains."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import select

from prolu.spec import RunSpec
from service.settings import Settings
from service.store import queue
from service.store.db import Database
from service.store.models import CheckpointRow, RunRow
from workers.cluster import RayCluster
from workers.dispatcher import Dispatcher


def spec(steps: int = 400) -> RunSpec:
    return RunSpec.model_validate(
        {
            "data": {"kind": "synthetic", "d_in": 16, "n_features": 32, "eval_samples": 256},
            "sae": {"kind": "prolu", "d_sae": 32},
            "sparsity": {"kind": "l1", "coefficient": 0.003},
            "training": {
                "steps": steps,
                "batch_size": 64,
                "metrics_every_steps": 20,
                "bias_snapshot_every_steps": 100,
                "checkpoint_every_steps": 100,
            },
            "resources": {"memory_gb": 0.5},
        }
    )


class Service:
    """A dispatcher on the shared Ray, driven by the test."""

    def __init__(self, database: Database, address: str, folder: Path, owner_id: UUID) -> None:
        self.database = database
        self.owner_id = owner_id
        self.settings = Settings(data_dir=folder, poll_seconds=0.1)
        self.cluster = RayCluster(address, f"test-{uuid4()}")
        self.dispatcher = Dispatcher(database, self.cluster, self.settings)

    def submit(self, run: RunSpec) -> UUID:
        with self.database.begin() as session:
            return queue.submit_run(session, owner_id=self.owner_id, spec=run, priority=50).id

    def run(self, run_id: UUID) -> RunRow:
        with self.database.read() as session:
            return session.get_one(RunRow, run_id)

    def rows(self, table: type[Any], run_id: UUID) -> list[Any]:
        with self.database.read() as session:
            return list(
                session.scalars(select(table).where(table.run_id == run_id).order_by(*table.__table__.primary_key))
            )

    def tick_until(self, condition: Callable[[], bool], *, seconds: float = 90) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it never came true"
            self.dispatcher.tick()

    def finish(self, run_id: UUID) -> RunRow:
        self.tick_until(lambda: self.run(run_id).finished_at is not None)
        return self.run(run_id)

    def final_files(self, run_id: UUID) -> dict[str, bytes]:
        (final,) = [row for row in self.rows(CheckpointRow, run_id) if row.final]
        folder = Path(self.settings.artifact_root) / final.path
        return {file["name"]: (folder / file["name"]).read_bytes() for file in final.files}
