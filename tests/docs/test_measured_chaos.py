"""The README's account of chaos is that of docs/measured/chaos.json, which is what `make chaos` wrote."""

import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
README = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
CHAOS: dict[str, Any] = json.loads((ROOT / "docs/measured/chaos.json").read_text(encoding="utf-8"))
KINDS = {"SQLite": "sqlite", "PostgreSQL": "postgresql"}


@pytest.mark.parametrize("name", list(KINDS))
def test_the_table_of_chaos_is_what_was_counted(name: str) -> None:
    counts = [CHAOS[what][KINDS[name]] for what in ("submitted", "succeeded", "lost", "duplicated", "wrong")]
    assert f"| {name} | {' | '.join(map(str, counts))} |" in README
    assert counts == [40, 40, 0, 0, 0]


@pytest.mark.parametrize("name", list(KINDS))
def test_the_disturbances_that_are_quoted_were_made(name: str) -> None:
    disturbed = CHAOS["disturbed"][KINDS[name]]
    assert f"{sum(disturbed.values())} times on {name}" in README
    assert disturbed["kill the head"] == 1
