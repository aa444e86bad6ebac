"""The chaos suite, short: everything around a few runs is killed, stopped, ended or full, once each. See `benchmarks.chaos`.

`make chaos` does so to forty runs, on both databases.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_nothing_is_lost_duplicated_or_wrong_while_everything_is_disturbed(database: str, tmp_path: Path):
    output = tmp_path / "chaos.json"
    sizes = ("--runs", "6", "--pause", "2", "--minutes", "5")
    suite = subprocess.run(
        [sys.executable, "-m", "benchmarks.chaos", "--database", database, *sizes, "--output", str(output)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    told = suite.stdout + suite.stderr
    assert output.exists(), told
    found = json.loads(output.read_text())
    assert found["found"][database] == [], told
    numbers = {name: found[name][database] for name in ("submitted", "succeeded", "lost", "duplicated", "wrong")}
    assert numbers == {"submitted": 6, "succeeded": 6, "lost": 0, "duplicated": 0, "wrong": 0}
    assert {"kill an actor", "kill a node", "kill the dispatcher", "kill the API"} <= set(
        found["disturbed"][database]
    ), told
    assert suite.returncode == 0
