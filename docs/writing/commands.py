"""The page of the `prolu` command."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from prolu.client.cli import __doc__ as about
from prolu.client.cli.app import app
from writing.schemas import cell

_HEAD = "| argument or option | default | meaning |\n| --- | --- | --- |"


def page() -> str:
    """The whole page: every command in the order of `prolu --help`, its arguments and its options."""
    group: Any = typer.main.get_command(app)
    sections = [_section(name, command) for name, command in group.commands.items()]
    status = (about or "").partition("Exit status:")[2].strip()
    options = "\n".join([_HEAD, *_rows(group.params)])
    return f"# The `prolu` command\n\n{group.help}\n\n**Exit status:** {status}\n\n{options}\n\n" + "\n".join(sections)


def _section(name: str, command: Any, above: str = "prolu") -> str:
    context = typer.Context(command, info_name=f"{above} {name}")
    usage = " ".join([context.info_name or "", *command.collect_usage_pieces(context)])
    lines = [f"## `{above} {name}`" if above == "prolu" else f"### `{above} {name}`", ""]
    lines += [_paragraphs(command.help or ""), "", "```console", f"$ {usage}", "```", ""]
    if subcommands := getattr(command, "commands", None):
        return "\n".join([*lines, *(_section(each, one, f"{above} {name}") for each, one in subcommands.items())])
    rows = [*_rows(command.params)]
    if rows:
        lines += [_HEAD, *rows, ""]
    return "\n".join(lines)


def _paragraphs(text: str) -> str:
    return "\n".join(line.strip() for line in text.replace("\b", "").splitlines())


def _rows(parameters: list[Any]) -> Iterator[str]:
    for one in parameters:
        if one.param_type_name == "argument":
            written = f"`{one.name.upper()}`"
        else:
            written = ", ".join(f"`{option}`" for option in [*one.opts, *one.secondary_opts])
        default = "required" if one.required else ""
        if not one.required and not callable(one.default) and one.default not in (None, False, "", ()):
            default = f"`{getattr(one.default, 'value', one.default)}`"
        yield f"| {written} | {default} | {cell(getattr(one, 'help', None) or '')} |"
