"""Every command that the deployment files start exists and accepts its arguments."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from functools import cache
from typing import Any

import click
import pytest
from ray.scripts import scripts


def _commands(service: dict[str, Any]) -> list[list[str]]:
    """The commands of a service and of its health check, as words; shell lines taken apart."""
    probe = service.get("healthcheck", {}).get("test", [])[1:]
    found = []
    for words in filter(None, (service.get("command", []), probe)):
        if words[:2] == ["sh", "-c"]:
            found += [shlex.split(part) for part in words[2].split("&&")]
        else:
            found.append(words)
    return [_without_wrapper([re.sub(r"\$\{\w+:-(\w+)\}", r"\1", word) for word in words]) for words in found]


def _without_wrapper(words: list[str]) -> list[str]:
    """Take off `exec` and `env -u NAME`."""
    if words[0] == "exec":
        return _without_wrapper(words[1:])
    return words[3:] if words[:2] == ["env", "-u"] else words


def _check(words: list[str]) -> None:
    match words:
        case ["ray", name, *arguments]:
            command = scripts.cli.get_command(click.Context(scripts.cli), name)
            assert command is not None, words
            command.make_context(name, list(arguments))
        case ["python", "-c", program]:
            ast.parse(program)
        case ["python", "-m", *module_and_arguments]:
            status, told = _help(tuple(module_and_arguments))
            assert status == 0, told
            assert "usage" in told.lower()
        case ["pg_isready" | "wget" | "mini", *_]:
            pass  # programs of images that are not ours
        case _:
            raise AssertionError(f"unknown command {words}")


@cache
def _help(module_and_arguments: tuple[str, ...]) -> tuple[int, str]:
    command = [sys.executable, "-m", *module_and_arguments, "--help"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return answer.returncode, answer.stdout + answer.stderr


def test_every_command_of_the_compose_file_is_accepted(compose):
    checked = [words for service in compose["services"].values() for words in _commands(service)]
    for words in checked:
        _check(words)
    assert len(checked) > 12


def test_the_default_command_of_every_image_is_accepted(stages):
    for name in ("api", "dispatcher", "ray"):
        words = ast.literal_eval(stages[name].last("CMD"))
        _check([word for word in words if word != "--help"])


@pytest.mark.parametrize(
    "words",
    [
        ["ray", "start", "--haed"],
        ["ray", "strat"],
        ["python", "-m", "servce"],
        ["python", "-m", "service", "sevre"],
        ["python", "-c", "import"],
        ["bash"],
    ],
)
def test_a_wrong_command_is_noticed(words):
    with pytest.raises((AssertionError, click.UsageError, SyntaxError)):
        _check(words)
