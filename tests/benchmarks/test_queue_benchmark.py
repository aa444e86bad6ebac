"""The benchmark of the queue works and says what it shall; how fast anything is, is not asserted here."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
BOTH = {"sqlite", "postgresql"}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What a call with small numbers writes; the parts that go through most of the machinery."""
    file = tmp_path_factory.mktemp("bench") / "bench" / "queue.json"
    parts = ["claim_finish", "submissions", "plan", "cancel"]
    command = [sys.executable, "-m", "benchmarks.queue", "--small", "--to", str(file), "--only", *parts]
    subprocess.run(command, cwd=ROOT, check=True, timeout=200)
    return json.loads(file.read_text())


def test_figures_that_depend_on_the_database_are_there_for_both(found: Any) -> None:
    for name in ("submissions_per_s", "sweep_10000_s", "cancel_1000_s"):
        assert found[name].keys() == BOTH, name
        assert all(0 < value < math.inf for value in found[name].values()), name


def test_the_peer_is_measured_beside_ours_and_its_best_settings_are_told(found: Any) -> None:
    told = found["measured"]["claim_finish"]
    (only,) = told["rounds"]
    assert only["ratio"] == pytest.approx(only["ours_per_s"] / only["procrastinate_per_s"])
    assert found["claim_finish_vs_procrastinate"] == only["ratio"]
    best = max(told["procrastinate_tried_per_s"], key=lambda tried: tried["per_s"])
    assert told["procrastinate"] == {name: best[name] for name in ("workers", "concurrency")}


def test_both_databases_are_durable_while_they_are_measured(found: Any) -> None:
    about = found["environment"]
    assert {about["postgresql"][name] for name in ("fsync", "synchronous_commit", "full_page_writes")} == {"on"}
    assert (about["sqlite"]["journal_mode"], about["sqlite"]["synchronous"]) == ("wal", 2)
