"""The chaos suite, short: everything around a few runs is killed, stopped, ended or full, once each. See `benchmarks.chaos`.

`make chaos` does so to forty runs on each database, and repeats most of it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]


# PostgreSQL can be disturbed in more ways; `make chaos` disturbs both, for a quarter of an hour.
@pytest.mark.parametrize(("database", "cut_off"), [("postgresql", "crash PostgreSQL")])
def test_nothing_is_lost_duplicated_or_wrong_while_everything_is_disturbed(database: str, cut_off: str, tmp_path: Path):
    output = tmp_path / "chaos.json"
    sizes = ("--database", database, "--runs", "4", "--pause", "1", "--minutes", "8")
    suite = subprocess.run(
        [sys.executable, "-m", "benchmarks.chaos", *sizes, "--output", str(output)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    told = suite.stdout + suite.stderr
    assert output.exists(), told
    result = {
        name: by_database[database]
        for name, by_database in json.loads(output.read_text()).items()
        if isinstance(by_database, dict)
    }
    assert result["found"] == [], told
    numbers = {name: result[name] for name in ("submitted", "succeeded", "lost", "duplicated", "wrong")}
    assert numbers == {"submitted": 4, "succeeded": 4, "lost": 0, "duplicated": 0, "wrong": 0}
    assert {"stop an actor", "kill an actor", "kill the dispatcher", cut_off} <= result["disturbed"].keys(), told
    assert suite.returncode == 0
