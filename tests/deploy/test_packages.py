"""The distribution: everything that is imported is declared, and everything that runs is in the wheel."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path

import pytest

FIRST_PARTY = {"prolu", "service", "workers", "migrations"}

# Distributions that are the other half of a declared one, and documented as such.
PARTS = {"pydantic-core", "starlette"}

# Which extras are installed where the files of a folder run; the base install is always there. First match counts.
EXTRAS = [
    ("prolu/client/plots/", {"demo"}),
    ("prolu/client/records.py", {"demo"}),
    ("prolu/client/tables.py", {"demo"}),
    ("prolu/client", set()),
    ("prolu/spec", set()),
    ("prolu/__init__.py", set()),
    ("prolu", {"train"}),
    ("service", {"server"}),
    ("migrations", {"server"}),
    ("workers/actor.py", {"train"}),
    ("workers", {"server", "train"}),
]


def _name(requirement: str) -> str:
    return re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-")  # type: ignore[index]


@pytest.fixture(scope="module")
def project(root):
    return tomllib.loads((root / "pyproject.toml").read_text())["project"]


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found - FIRST_PARTY - set(sys.stdlib_module_names)


def test_every_import_is_declared_by_the_extras_that_are_installed_there(root, project):
    distributions = packages_distributions()
    undeclared = []
    for path in (path for folder in FIRST_PARTY for path in sorted((root / folder).rglob("*.py"))):
        where = path.relative_to(root).as_posix()
        extras = next(extras for start, extras in EXTRAS if where.startswith(start))
        declared = project["dependencies"] + [
            line for extra in extras for line in project["optional-dependencies"][extra]
        ]
        allowed = {_name(requirement) for requirement in declared} | PARTS
        for module in _imports(path):
            owners = {_name(owner) for owner in distributions.get(module, [module])}
            if not owners & allowed:
                undeclared.append(f"{where} imports {module}")
    assert undeclared == []


def test_every_extra_is_made_of_packages_that_the_lock_holds(root, project):
    locked = {_name(line) for line in (root / "requirements.lock").read_text().splitlines() if "==" in line}
    requirements = chain(project["dependencies"], *project["optional-dependencies"].values())
    assert {_name(requirement) for requirement in requirements} <= locked


@pytest.fixture(scope="module")
def wheel(root, tmp_path_factory):
    """The wheel of the project, built from a copy, since a build writes into its source."""
    source = tmp_path_factory.mktemp("source")
    for name in FIRST_PARTY:
        shutil.copytree(root / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, source)
    out = tmp_path_factory.mktemp("wheel")
    program = "import sys, setuptools.build_meta as backend; backend.build_wheel(sys.argv[1])"
    command = [sys.executable, "-W", "ignore", "-c", program, str(out)]
    built = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return zipfile.ZipFile(next(out.glob("*.whl")))


def test_the_wheel_holds_every_file_that_runs_and_no_test(wheel, root):
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    present = {
        path.relative_to(root).as_posix()
        for folder in FIRST_PARTY
        for path in (root / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix not in (".mako", ".md")
    }
    assert packed == present


def test_the_wheel_carries_the_licence_and_the_command(wheel):
    names = wheel.namelist()
    assert any(name.endswith("licenses/LICENSE") for name in names)
    points = next(wheel.read(name).decode() for name in names if name.endswith("entry_points.txt"))
    assert "prolu = prolu.client.cli:main" in points
