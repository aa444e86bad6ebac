"""The benchmark of results works and says what it shall; how fast anything is, is not asserted here."""

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
