"""Tables of the fields of JSON Schemas: of the job language, and of the messages of the HTTP interface."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]

_BOUNDS = (
    ("minimum", "≥ {}"),
    ("exclusiveMinimum", "> {}"),
    ("maximum", "≤ {}"),
    ("exclusiveMaximum", "< {}"),
    ("minLength", "at least {} characters"),
    ("maxLength", "at most {} characters"),
    ("minItems", "at least {} items"),
    ("maxItems", "at most {} items"),
)


def anchor(name: str) -> str:
    """The label of a schema's section."""
    return f"schema-{name.lower()}"


def section(name: str, schema: Schema, *, level: int = 3) -> str:
    """A section with the schema's description and a table of its fields, or of its values where it has no fields."""
    lines = [f"({anchor(name)})=", f"{'#' * level} {name}", ""]
    if text := schema.get("description"):
        lines += [text, ""]
    if fields := schema.get("properties"):
        lines += [*_table(fields, schema.get("required", ())), ""]
    elif "$ref" not in schema:
        lines += [f"{type_of(schema)}.", ""]
    return "\n".join(lines)


def type_of(schema: Schema) -> str:
    """A type in words and links, such as ``number, ≥ 0``, or null."""
    if reference := schema.get("$ref"):
        name = reference.rsplit("/", 1)[-1]
        return f"[{name}](#{anchor(name)})"
    for union in ("anyOf", "oneOf"):
        if union in schema:
            return " or ".join(dict.fromkeys(type_of(part) for part in schema[union]))
    if "allOf" in schema:
        return " and ".join(type_of(part) for part in schema["allOf"])
    if "const" in schema:
        return _code(schema["const"])
    if "enum" in schema:
        return " or ".join(_code(value) for value in schema["enum"])
    return ", ".join([_plain(schema), *_bounds(schema)])


def cell(text: str) -> str:
    """A text that does not end the cell of a table that it is in."""
    return " ".join(text.split()).replace("|", "\\|")


def _table(fields: Mapping[str, Schema], required: object) -> Iterator[str]:
    yield "| field | type | default | meaning |"
    yield "| --- | --- | --- | --- |"
    for name, schema in fields.items():
        default = "required" if name in _names(required) else ""
        if "default" in schema:
            default = _code(schema["default"])
        yield f"| `{name}` | {cell(type_of(schema))} | {cell(default)} | {cell(schema.get('description', ''))} |"


def _names(required: object) -> tuple[str, ...]:
    return tuple(required) if isinstance(required, list | tuple) else ()


def _plain(schema: Schema) -> str:
    kind = schema.get("type", "anything")
    if kind == "array":
        items = schema.get("items") or schema.get("prefixItems", [{}])[0]
        return f"list of {type_of(items)}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        return f"object of {type_of(schema['additionalProperties'])}"
    names = {"date-time": "time (RFC 3339)", "uuid": "UUID", "binary": "bytes"}
    return names.get(schema.get("format", ""), str(kind) if isinstance(kind, str) else " or ".join(kind))


def _bounds(schema: Schema) -> list[str]:
    return [form.format(_number(schema[name])) for name, form in _BOUNDS if name in schema]


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _code(value: Any) -> str:
    return f"`{json.dumps(value, ensure_ascii=False)}`"
