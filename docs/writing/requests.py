"""The page of the HTTP interface, out of the OpenAPI document that the service itself serves."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from service.api.contract import answer_of
from service.app import create_app
from service.settings import Settings
from writing import language
from writing.schemas import cell, section, type_of

_METHODS = ("get", "post", "put", "patch", "delete")


def page() -> str:
    """The whole page: what holds for all requests, then every operation by its tag, then the messages."""
    with tempfile.TemporaryDirectory() as nothing:
        document = create_app(Settings(data_dir=Path(nothing))).openapi()
    parts = ["# HTTP interface", document["info"]["description"].strip()]
    for tag in document["tags"]:
        parts.append(f"## {tag['name'].replace('_', ' ').capitalize()}\n\n{tag['description']}")
        parts += [_operation(document, *each) for each in _operations(document) if tag["name"] in each[2]["tags"]]
    parts.append("## Messages\n\nThose of the job language are on [its own page](spec.md).")
    messages = sorted(document["components"]["schemas"].items())
    parts += [section(name, schema) for name, schema in messages if name not in language.words()]
    return "\n\n".join(parts) + "\n"


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for path, operations in document["paths"].items():
        for method in _METHODS:
            if method in operations:
                yield method, path, operations[method]


def _operation(document: dict[str, Any], method: str, path: str, operation: Mapping[str, Any]) -> str:
    lines = [f"### {method.upper()} {path}", "", operation.get("description", ""), ""]
    parameters = operation.get("parameters", [])
    if parameters:
        lines += ["| parameter | in | type | meaning |", "| --- | --- | --- | --- |"]
        lines += [_parameter(one) for one in parameters]
        lines.append("")
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        lines += [f"Body, `{media}`: {type_of(content['schema'])}.", ""]
    lines += ["| status | answer |", "| --- | --- |"]
    answers = {status: answer_of(document, one) for status, one in operation["responses"].items()}
    lines += [f"| {status} | {cell(_answer(one))} |" for status, one in sorted(answers.items())]
    return "\n".join(lines)


def _parameter(one: Mapping[str, Any]) -> str:
    name = f"`{one['name']}`" + (", required" if one.get("required") and one["in"] != "path" else "")
    meaning = one.get("description") or one["schema"].get("description", "")
    return f"| {name} | {one['in']} | {cell(type_of(one['schema']))} | {cell(meaning)} |"


def _answer(response: Mapping[str, Any]) -> str:
    told = [
        f"{type_of(content['schema'])} as `{media}`" if "schema" in content else f"`{media}`"
        for media, content in response.get("content", {}).items()
    ]
    return ": ".join(filter(None, [response.get("description", ""), ", ".join(told)]))
