"""The documentation is built from the code without a warning, and the code leaves nothing of its face unsaid."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from prolu.client import cli
from prolu.client.cli.app import BAD_INPUT, FAILED, INTERRUPTED, NOT_YOURS, OK, OUT_OF_REACH, app
from service.app import create_app
from service.settings import Settings

ROOT = Path(__file__).parents[2]
# The one runs until it is interrupted, and the other one prints nothing but JSON.
_NO_JSON = {"up", "schema"}


def test_every_page_is_built_without_a_warning(tmp_path: Path) -> None:
    places = ("-d", tmp_path / "doctrees", ROOT / "docs", tmp_path / "pages")
    built = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", *places],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONWARNINGS": "ignore"},  # of Sphinx's own parts; the pages' are Sphinx's to tell
        check=False,
    )
    assert built.returncode == 0, built.stderr
    pages = {file.relative_to(tmp_path / "pages").as_posix() for file in (tmp_path / "pages").rglob("*.html")}
    assert pages >= {f"reference/{name}.html" for name in ("api", "cli", "python", "settings", "spec")}
    commands = re.sub(r"<[^>]+>", "", (tmp_path / "pages/reference/cli.html").read_text())
    for name, _ in leaves():
        assert f"prolu {name}" in commands


def leaves() -> Iterator[tuple[str, Any]]:
    """Every command that does something, with the name under which it is called."""
    group: Any = typer.main.get_command(app)
    for name, command in group.commands.items():
        inner = getattr(command, "commands", {})
        yield from ((f"{name} {each}", one) for each, one in inner.items()) if inner else [(name, command)]


@pytest.mark.parametrize(("name", "command"), [*leaves()], ids=[name for name, _ in leaves()])
def test_a_command_says_what_it_does_and_what_each_option_means(name: str, command: Any) -> None:
    assert len(command.help or "") > 10, f"prolu {name} says nothing of itself"
    unsaid = [one.name for one in command.params if not one.hidden and not one.help]
    assert unsaid == [], f"prolu {name} does not say what these mean"


def test_every_operation_and_each_of_its_parameters_is_told(tmp_path: Path) -> None:
    paths = create_app(Settings(data_dir=tmp_path)).openapi()["paths"]
    operations = [(f"{method} {path}", one) for path, methods in paths.items() for method, one in methods.items()]
    assert [name for name, one in operations if len(one.get("description", "")) < 10] == []
    unsaid = [
        f"{name}: {parameter['name']}"
        for name, one in operations
        for parameter in one.get("parameters", ())
        if parameter["in"] != "path" and not parameter.get("description")
    ]
    assert unsaid == []


def test_every_setting_is_told() -> None:
    assert [name for name, field in Settings.model_fields.items() if len(field.description or "") < 10] == []


@pytest.mark.parametrize(("name", "command"), [*leaves()], ids=[name for name, _ in leaves()])
def test_a_command_speaks_json_too(name: str, command: Any) -> None:
    known = {option for one in command.params for option in one.opts}
    assert ("--json" in known) != (name in _NO_JSON), f"prolu {name}"


def test_every_exit_status_is_told() -> None:
    page, help_text = cli.__doc__ or "", typer.main.get_command(app).epilog or ""  # type: ignore[attr-defined]
    told = page.partition("Exit status:")[2]
    for status in (OK, FAILED, BAD_INPUT, OUT_OF_REACH, NOT_YOURS, INTERRUPTED):
        assert re.search(rf"\b{status}\b", told), status
        assert re.search(rf"\b{status}\b", help_text), status
