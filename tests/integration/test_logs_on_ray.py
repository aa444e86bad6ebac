"""What a worker on a real Ray logs and prints ends up in the database, line by line, by attempt; on both databases."""

from __future__ import annotations

import os
import re
import signal

import pytest

from service.store.models import AttemptRow, LogChunkRow
from tests.integration.dispatching import Service, spec

pytestmark = pytest.mark.ray


def lines(service: Service, run_id: object, epoch: int) -> list[str]:
    rows = sorted(service.rows(LogChunkRow, run_id), key=lambda row: row.seq)  # type: ignore[arg-type]
    return [line for row in rows if row.epoch == epoch for line in row.text.split("\n")]


def test_a_worker_that_is_killed_leaves_its_log_and_the_next_one_begins_its_own(service: Service):
    run_id = service.submit(spec(1_200))
    service.tick_until(lambda: any("step-100" in line for line in lines(service, run_id, 1)))
    (name,) = service.cluster.names()
    process = service.cluster.pid(name)
    os.kill(process, signal.SIGKILL)
    service.finish(run_id)
    first, second = lines(service, run_id, 1), lines(service, run_id, 2)
    assert all(re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z (INFO|WARNING|OUT|ERR) ", line) for line in [*first, *second])
    assert "trains from the start on node" in first[0]
    assert f"process {process}:" in first[0]
    assert f"trains from runs/{run_id}/e1/step-" in second[0]
    assert second[-1].endswith("Step 1200: every step is done.")
    lost, _ = service.rows(AttemptRow, run_id)
    assert f"pid: {process}" in (lost.exit_cause or "")
