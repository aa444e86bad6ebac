"""Read specs from YAML or JSON text, and give their JSON Schema."""

from __future__ import annotations

import json
import re
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from prolu.spec.base import MAX_DEPTH
from prolu.spec.mistakes import Mistake, SpecError, explain, kind_of
from prolu.spec.run import RunSpec
from prolu.spec.sweep import SweepSpec

Model = TypeVar("Model", bound=BaseModel)

MAX_CHARACTERS = 1_000_000
# Fields of a sweep by which it is told from a run, should it lack its base.
_OF_SWEEPS = {"base", "variants", "grid", "points", "random", "search", "early_stopping"}


class _Loader(yaml.SafeLoader):
    """YAML that means what JSON can mean, and nothing that surprises.

    `1e-3` is a number (PyYAML alone reads text), `no` and `2026-01-01` are text, `010` is text rather than 8.
    Tags, merge keys, repeated keys and keys that are not text are refused; so are aliases, with which ten
    lines can mean gigabytes.
    """

    # Of this class alone: PyYAML's own table is shared by every SafeLoader of the process.
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            raise _at(event, "aliases (*name) are not allowed; write the value out")
        if isinstance(event, yaml.NodeEvent) and getattr(event, "tag", None) is not None:
            raise _at(event, "tags (!name) are not allowed; remove it")
        if self.depth > MAX_DEPTH:
            raise _at(event, f"lists and mappings are nested more than {MAX_DEPTH} deep; make it flatter")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:str":
                raise _at(key, "keys must be text; put this one in quotes or remove it")
            if key.value in seen:
                raise _at(key, f"the key {key.value!r} stands twice; remove one of the two")
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_integer(self, node: yaml.ScalarNode) -> int:
        try:
            return int(node.value)
        except ValueError:  # Python reads at most 4,300 digits
            raise _at(node, f"a number has {len(node.value)} digits; write a smaller one") from None


def _at(where: Any, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=where.start_mark)


def _resolve(kind: str, pattern: str, first: str) -> None:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{kind}", re.compile(pattern), list(first))


# The core schema of YAML 1.2, with integers as JSON writes them.
_resolve("null", r"^(~|null|Null|NULL)$", "~nN")
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^$"), [""])
_resolve("bool", r"^(true|True|TRUE|false|False|FALSE)$", "tTfF")
_resolve("int", r"^[-+]?(0|[1-9][0-9]*)$", "-+0123456789")
_resolve("float", r"^[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?$", "-+0123456789.")
_resolve("float", r"^[-+]?[0-9]+[eE][-+]?[0-9]+$", "-+0123456789")
_resolve("float", r"^([-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$", "-+.")
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_integer)


def parse(text: str) -> Any:
    """Read YAML or JSON into plain data. Raises SpecError with line and column if it is neither."""
    if len(text) > MAX_CHARACTERS:
        sentence = f"The document has {len(text)} characters; at most {MAX_CHARACTERS} are read. Shorten it."
        raise SpecError([Mistake((), sentence)])
    not_json = None
    if re.match(r'\s*{\s*["}]', text):
        # JSON is almost YAML, but for tabs and surrogate pairs.
        try:
            return json.loads(text, object_pairs_hook=_without_repetition)
        except SpecError:
            raise
        except json.JSONDecodeError as error:
            not_json = error
        except (ValueError, RecursionError):
            pass  # a number or a nesting beyond Python: the other parser says where
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader that allows less than the original
    except yaml.YAMLError as error:
        raise SpecError([Mistake((), _json_problem(not_json) if not_json else _yaml_problem(error))]) from None


def _json_problem(error: json.JSONDecodeError) -> str:
    return f"Not valid JSON at line {error.lineno}, column {error.colno}: {error.msg}; correct it there."


def _yaml_problem(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = str(error.problem).removeprefix("but ")
        return f"Not valid YAML{where}: {problem}{'' if ';' in problem else '; correct it there'}."
    if isinstance(error, yaml.reader.ReaderError):
        return (
            f"Not valid YAML: character {error.position + 1} of the document is U+{error.character:04X}, "
            "a control character or half a surrogate pair; remove it."
        )
    return f"Not valid YAML: {error}; correct it."


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for key, value in pairs:
        if key in fields:
            raise SpecError([Mistake((), f"Not valid JSON: the key {key!r} stands twice; remove one of the two.")])
        fields[key] = value
    return fields


def validate(document: Any, model: type[Model]) -> Model:
    """Build `model` from plain data. Raises SpecError that names every wrong field."""
    if not isinstance(document, dict):
        raise SpecError([Mistake((), f"The document must be a mapping of fields; got {kind_of(document)}.")])
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise SpecError(explain(error, document, model)) from None


def is_sweep(document: Any) -> bool:
    """Whether plain data means a sweep (it has a `base`, or what only a sweep has) rather than a single run."""
    return isinstance(document, dict) and not document.keys().isdisjoint(_OF_SWEEPS)


def json_schema() -> dict[str, Any]:
    """Give the JSON Schema of runs and sweeps, for editors and other languages."""
    return {"run": RunSpec.model_json_schema(), "sweep": SweepSpec.model_json_schema()}
