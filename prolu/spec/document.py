"""Read specs from YAML or JSON text, and give their JSON Schema."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from prolu.spec.mistakes import Mistake, SpecError, explain
from prolu.spec.run import RunSpec
from prolu.spec.sweep import SweepSpec

Model = TypeVar("Model", bound=BaseModel)

MAX_BYTES = 1_000_000


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads `1e-3` as a number (YAML 1.2), refuses repeated keys, and has no aliases to blow up."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.events.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(
                problem="aliases (*name) are not allowed; write the value out", problem_mark=mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key_node.value!r} stands twice", problem_mark=key_node.start_mark
                )
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"),
    list("-+0123456789."),
)


def parse(text: str) -> Any:
    """Read YAML (of which JSON is a part) into plain data. Raises SpecError with line and column if it is neither."""
    if len(text) > MAX_BYTES:
        raise SpecError([Mistake((), f"The document has {len(text)} characters; at most {MAX_BYTES} are read.")])
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise SpecError([Mistake((), f"Not valid YAML{where}: {error.problem}; correct it there.")]) from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise SpecError([Mistake((), f"Not valid YAML: {error}; correct it.")]) from None


def validate(document: Any, model: type[Model]) -> Model:
    """Build `model` from plain data. Raises SpecError that names every wrong field."""
    if not isinstance(document, dict):
        got = "nothing" if document is None else type(document).__name__
        raise SpecError([Mistake((), f"The document must be a mapping of fields; got {got}.")])
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise SpecError(explain(error, document, model)) from None


def is_sweep(document: Any) -> bool:
    """Whether plain data means a sweep (it has a `base`) rather than a single run."""
    return isinstance(document, dict) and "base" in document


def json_schema() -> dict[str, Any]:
    """The JSON Schema of runs and sweeps, for editors and other languages."""
    return {"run": RunSpec.model_json_schema(), "sweep": SweepSpec.model_json_schema()}
