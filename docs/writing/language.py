"""The page of the job language: a run, a sweep, and every part that they may have."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from prolu.spec import RunSpec, SweepSpec
from writing.schemas import section

_INTRODUCTION = """# The job language

A job is a run or a sweep, written as YAML or JSON. Every field that is left out has the default of these tables; a field that
they do not name is refused. Where several types are possible, `kind` tells which one is meant. `prolu schema run` and
`prolu schema sweep` print the same as JSON Schema, for editors.
"""


_JOBS = ("RunSpec", "SweepSpec")


def page() -> str:
    """The whole page."""
    defined = words()
    jobs = [section(name, defined[name], level=2) for name in _JOBS]
    parts = [section(name, schema) for name, schema in sorted(defined.items()) if name not in _JOBS]
    return "\n".join([_INTRODUCTION, *jobs, "## Parts\n", *parts])


def words() -> dict[str, dict[str, Any]]:
    """The schemas of the language by name: of the two jobs and of all their parts."""
    found: dict[str, dict[str, Any]] = {}
    for name, model in zip(_JOBS, (RunSpec, SweepSpec), strict=True):
        schema = TypeAdapter(model).json_schema()
        found |= schema.pop("$defs", {})
        found[name] = schema
    return found
