"""The README and the pages that go on from it, against the code: what they name exists, and what there is to name is named."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from types import NoneType

import pytest
import typer.main
import yaml

from prolu.client import cli
from prolu.client.cli import app as command
from prolu.spec import RunSpec, SweepSpec, parse, validate
from service.app import create_app
from service.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = {
    name: (ROOT / "docs" / name).read_text()
    for name in ("questions.md", "measured-here.md", "explanation/queue.md", "how-to/deploy.md", "how-to/back-up.md")
}
TOLD = "\n".join([README, *PAGES.values()])
MAKEFILE = (ROOT / "Makefile").read_text()


def _blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def _commands() -> list[list[str]]:
    """The lines after `$` in the console blocks, with what they continue on, as words without comments."""
    text = "\n".join(_blocks("console", TOLD))
    found = re.findall(r"^\$ (.*(?:\n(?!\$ ).*)*)", text, re.MULTILINE)
    return [shlex.split(each, comments=True) for each in found]


def _targets() -> dict[str, str]:
    return dict(re.findall(r"^([a-z-]+):.*?## (.*)$", MAKEFILE, re.MULTILINE))


def _table(heading: str) -> dict[str, str]:
    """First and last cell of each row of the table that begins with `heading`."""
    start = README.index(f"| {heading} |")
    rows = [line.strip("| ").split(" | ") for line in README[start:].split("\n\n")[0].splitlines()[2:]]
    return {row[0].strip("`"): row[-1] for row in rows}


def test_every_make_target_that_is_named_exists_and_every_target_is_named():
    assert set(re.findall(r"\bmake ([a-z-]+)\b", README)) == set(_targets())
    assert set(re.findall(r"`make ([a-z-]+)\b", TOLD)) == set(_targets())


def test_the_table_of_targets_says_what_make_help_says():
    assert {name.removeprefix("make "): text for name, text in _table("target").items()} == _targets()


def test_every_command_and_option_of_prolu_that_is_named_exists():
    group = typer.main.get_command(command.app)
    lines = [words[1:] for words in _commands() if words[0] == "prolu"]
    lines += [shlex.split(text) for text in re.findall(r"`prolu ([^`]+)`", TOLD)]
    assert len(lines) > 8
    for words in lines:
        name = words[0]
        if name == "--help":
            continue
        assert name in group.commands, words
        known = {option for parameter in group.commands[name].params for option in parameter.opts} | {"--help"}
        assert {word for word in words[1:] if word.startswith("-") and len(word) > 1} <= known, words


def test_every_command_of_the_console_blocks_is_one_we_know():
    programs = {words[0] for words in _commands()}
    assert programs == {
        "make",
        "prolu",
        "source",
        "export",
        "curl",
        "cp",
        "mkdir",
        "docker",
        "python",
        "pg_dump",
        "pg_restore",
        "rm",
    }


def test_every_file_that_is_named_exists():
    named = {word for words in _commands() for word in words if re.match(r"(examples/|\.env\.example)", word)}
    named |= set(re.findall(r"\]\((?!http|#|docs/images/)([^)]+)\)", README))
    named |= set(re.findall(r"`((?:examples|tests|docs)/[^`]+|[a-z-]+\.yml)`", TOLD))
    assert len(named) > 4
    assert [name for name in named if not (ROOT / name).exists()] == []


def _setting_rows() -> list[str]:
    rows = []
    for name, field in Settings.model_fields.items():
        shown = "" if field.default_factory or field.default in (None, "", (), Path()) else str(field.default)
        default = f"`{shown}`" if shown and not isinstance(field.default, NoneType) else ""
        rows.append(f"| `PROLU_{name.upper()}` | {default} | {field.description} |")
    return rows


def test_the_table_of_settings_is_that_of_the_code():
    between = README.split("-->")[1].split("<!-- /settings")[0].strip().splitlines()
    expected = ["| variable | default | meaning |", "| --- | --- | --- |", *_setting_rows()]
    assert between == expected, "the table should be:\n" + "\n".join(expected)


def test_every_variable_that_is_named_is_read_somewhere():
    source = "".join(
        path.read_text() for folder in ("service", "prolu", "workers") for path in (ROOT / folder).rglob("*.py")
    )
    settings = {f"PROLU_{name.upper()}" for name in Settings.model_fields}
    for variable in set(re.findall(r"\bPROLU_[A-Z_]+\b", TOLD)):
        assert variable in settings or f'"{variable}"' in source, variable


def test_every_variable_that_the_client_reads_is_named():
    source = "".join(path.read_text() for path in (ROOT / "prolu" / "client").rglob("*.py"))
    assert set(re.findall(r'"(PROLU_[A-Z_]+)"', source)) <= set(re.findall(r"\bPROLU_[A-Z_]+\b", README))


def test_the_exit_codes_are_those_of_the_command():
    codes = [
        command.OK,
        command.FAILED,
        command.BAD_INPUT,
        command.OUT_OF_REACH,
        command.NOT_YOURS,
        command.INTERRUPTED,
    ]
    assert [int(code) for code in _table("code")] == codes
    assert "130 interrupted" in (cli.__doc__ or "")


def test_the_snippets_of_python_compile():
    assert _blocks("python")
    for block in _blocks("python"):
        compile(block, "README.md", "exec")


def test_the_specs_are_valid():
    run = validate(parse(_blocks("yaml")[0]), RunSpec)
    assert run.sae.kind == "prolu"
    bodies = re.findall(r"-d '(\{.*?\})'", README, re.DOTALL)
    assert bodies
    for body in bodies:
        validate(yaml.safe_load(body)["spec"], RunSpec)
    names: dict[str, object] = {}
    assignment = re.search(r"^sweep = \{.*?^\}", _blocks("python")[0], re.MULTILINE | re.DOTALL)
    assert assignment
    exec(assignment[0], names)  # noqa: S102 - a literal of our own README
    validate(names["sweep"], SweepSpec)


@pytest.fixture
def openapi(tmp_path, monkeypatch):
    monkeypatch.setenv("PROLU_DATA_DIR", str(tmp_path))
    return create_app(Settings()).openapi()


def test_every_path_that_is_named_is_served(openapi):
    app_paths = {"/docs", "/openapi.json"}
    patterns = {re.compile(re.sub(r"\{\w+\}", r"[^/:]+", path) + "$") for path in openapi["paths"]}
    named = {path.split("?")[0] for path in re.findall(r"\$PROLU_URL(/[^\"\s]+)", README)}
    named |= set(re.findall(r"`(?:GET )?(/[a-z][\w./:{}]+)`", TOLD))
    assert len(named) > 3
    for path in named - app_paths:
        assert any(pattern.match(path) for pattern in patterns), path


def test_a_query_that_is_named_is_understood(openapi):
    for path, query in re.findall(r"\$PROLU_URL(/[^\"\s?]+)\?([^\"\s]+)", README):
        known = {parameter["name"] for parameter in openapi["paths"][path]["get"]["parameters"]}
        assert {part.split("=")[0] for part in query.split("&")} <= known


def test_the_base_install_is_the_light_client():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert not [line for line in project["dependencies"] if re.match(r"torch|ray|sqlalchemy|fastapi", line)]


def test_the_compose_file_is_said_to_be_checked_and_not_run():
    assert "checked by a test" in README
    assert "not run" in README
