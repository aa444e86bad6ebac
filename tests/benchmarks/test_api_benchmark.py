"""The benchmark of results works and says what it shall; how fast anything is, is not asserted here."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from benchmarks.api.__main__ import _populated
from benchmarks.api.population import populate
from benchmarks.queue.databases import Kind
from service.store.db import Database
from service.store.models import FINDINGS, BiasSnapshotRow

ROOT = Path(__file__).parents[2]
BOTH = {"sqlite", "postgresql"}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What a call with few runs writes."""
    file = tmp_path_factory.mktemp("bench") / "bench" / "api.json"
    command = [sys.executable, "-m", "benchmarks.api", "--runs", "150", "--times", "2", "--to", str(file)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=200)
    return json.loads(file.read_text())


def test_every_figure_that_has_a_goal_is_there_for_both_databases(found: Any) -> None:
    assert found["goals"].keys() == {"query_p95_ms", "frontier_ms", "parquet_s", "parquet_peak_mb"}
    for name in found["goals"]:
        assert found[name].keys() == BOTH, name
        assert all(0 <= value < math.inf for value in found[name].values()), name


def test_the_worst_query_counts_and_files_have_the_rows_they_shall(found: Any) -> None:
    for kind in BOTH:
        told = found["measured"][kind]
        assert found["query_p95_ms"][kind] == max(one["p95_ms"] for one in told["queries"].values())
        assert [one["rows"] for one in told["exports"]] == [15, 150, 150]
        assert found["parquet_s"][kind] == told["exports"][-1]["seconds"]
        assert told["frontiers"]["by family"]["points"] > 100


def test_how_long_the_population_took_and_how_large_it_is_is_told(found: Any) -> None:
    for kind in BOTH:
        generated = found["measured"][kind]["generated"]
        assert generated["seconds"] > 0
        assert generated["mebibytes"] > 1


def test_a_database_that_has_the_runs_is_measured_as_it_is_and_another_is_refused(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    kind: Kind = "sqlite" if database.is_sqlite else "postgresql"
    _populated(kind, database, 30)
    assert capsys.readouterr().out.startswith(f"{kind}: 30 of 30 runs written")
    assert _populated(kind, database, 30)["mebibytes"] > 0
    assert capsys.readouterr().out == ""
    with pytest.raises(SystemExit, match="has 30 runs; give an empty one, or --runs 30"):
        _populated(kind, database, 31)


def test_every_run_that_began_has_all_its_snapshots_and_the_last_is_found(database: Database) -> None:
    populate(database, runs=30, snapshots=4, points=3)
    with database.read() as session:
        counts = dict(session.execute(select(BiasSnapshotRow.run_id, func.count()).group_by("run_id")).all())
        steps = session.scalars(select(FINDINGS.c.bias_step).where(FINDINGS.c.state != "queued")).all()
    assert len(counts) == len(steps) > 20
    assert (set(counts.values()), set(steps)) == ({4}, {20_000})
