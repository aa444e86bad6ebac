"""The deployment files as data: the compose file with its variables, and the stages of the Dockerfile."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@dataclass
class Stage:
    """One stage of the Dockerfile."""

    name: str
    parent: str
    lines: list[str] = field(default_factory=list)

    def last(self, instruction: str) -> str | None:
        """Argument of the last such instruction."""
        found = [line.split(None, 1)[1] for line in self.lines if line.startswith(instruction + " ")]
        return found[-1] if found else None


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder of the project."""
    return ROOT


@pytest.fixture(scope="session")
def _compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


@pytest.fixture
def compose(_compose: dict[str, Any]) -> dict[str, Any]:
    """The compose file, the test's own."""
    return copy.deepcopy(_compose)


@pytest.fixture(scope="session")
def stages() -> dict[str, Stage]:
    """The stages of the Dockerfile by name, continued lines joined."""
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text())
    found: dict[str, Stage] = {}
    for line in (line.strip() for line in text.splitlines()):
        if match := re.fullmatch(r"FROM (\S+) AS (\S+)", line):
            found[match[2]] = Stage(match[2], match[1])
        elif found and line and not line.startswith("#"):
            found[list(found)[-1]].lines.append(line)
    return found
