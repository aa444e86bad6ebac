"""`/docs`: the OpenAPI document as one page for people, made here, without a script, a font or a picture from anywhere.

A browser may load nothing for it (Content-Security-Policy), so it reads the same on a cluster without internet, and
nobody's script runs beside a token.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Iterator, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from service.api.contract import answer_of

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1b1f24; }
h2 { border-bottom: 1px solid #d0d7de; margin-top: 3rem; }
summary { cursor: pointer; padding: .3rem 0; }
code, .method { font-family: ui-monospace, monospace; font-size: .9em; }
.method { display: inline-block; width: 4rem; font-weight: bold; }
table { border-collapse: collapse; margin: .5rem 0 1rem; }
td, th { border: 1px solid #d0d7de; padding: .2rem .6rem; text-align: left; vertical-align: top; }
@media (prefers-color-scheme: dark) { body { background: #0d1117; color: #e6edf3; } a { color: #79c0ff; } }
"""
_STYLE_SHA256 = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{_STYLE_SHA256}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

_CODE = re.compile(r"`([^`]+)`")


def install(app: FastAPI) -> None:
    """Have the app serve the page at `/docs`."""

    @app.get("/docs", include_in_schema=False)
    def show_reference() -> HTMLResponse:
        return HTMLResponse(page(app.openapi()), headers={"Content-Security-Policy": POLICY})


def page(document: dict[str, Any]) -> str:
    """Write an OpenAPI document as HTML. Everything in it is escaped."""
    info = document["info"]
    tagged: dict[str, list[str]] = {tag["name"]: [] for tag in document["tags"]}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            tagged.setdefault(operation.get("tags", ["service"])[0], []).append(
                _operation(document, path, method, operation)
            )
    described = {tag["name"]: tag["description"] for tag in document["tags"]}
    sections = [
        f"<h2>{_text(name)}</h2><p>{_text(described.get(name, ''))}</p>{''.join(shown)}"
        for name, shown in tagged.items()
        if shown
    ]
    schemas = document["components"]["schemas"]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{_text(info["title"])}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
        f"<h1>{_text(info['title'])} {_text(info['version'])}</h1>{_prose(info['description'])}"
        f'<p>For programs: <a href="openapi.json">openapi.json</a> (OpenAPI {_text(document["openapi"])}).</p>'
        f"{''.join(sections)}<h2>Schemas</h2>{''.join(_schema(name, schemas[name]) for name in sorted(schemas))}"
        "</body></html>"
    )


def _operation(document: dict[str, Any], path: str, method: str, operation: dict[str, Any]) -> str:
    takes = [*_parameters(operation), *_body(operation)]
    gives = [
        (f"<code>{status}</code>", _text(answer["description"]), _content(answer))
        for status, response in sorted(operation["responses"].items())
        for answer in [answer_of(document, response)]
    ]
    return (
        f'<details id="{_text(operation["operationId"])}"><summary><span class="method">{method.upper()}</span> '
        f"<code>{_text(path)}</code> {_text(operation.get('summary', ''))}</summary>"
        f"{_prose(operation.get('description', ''))}{_table('Takes', takes)}{_table('Answers', gives)}</details>"
    )


def _parameters(operation: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for parameter in operation.get("parameters", []):
        need = "required" if parameter.get("required") else "optional"
        what = f"{_text(parameter.get('description', ''))} ({_kind(parameter.get('schema', {}))}, {need})"
        yield f"<code>{_text(parameter['name'])}</code>", _text(parameter["in"]), what


def _body(operation: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    if "requestBody" in operation:
        yield "body", "", _content(operation["requestBody"])


def _content(spoken: dict[str, Any]) -> str:
    shown = [f"{_text(kind)}: {_kind(media.get('schema', {}))}" for kind, media in spoken.get("content", {}).items()]
    return "<br>".join(shown)


def _schema(name: str, schema: dict[str, Any]) -> str:
    fields = [
        (f"<code>{_text(field)}</code>", _kind(found), _text(found.get("description", "")))
        for field, found in schema.get("properties", {}).items()
    ]
    return (
        f'<details id="schema-{_text(name)}"><summary><code>{_text(name)}</code></summary>'
        f"{_prose(schema.get('description', ''))}{_table('Fields', fields)}</details>"
    )


def _kind(schema: dict[str, Any]) -> str:
    """Say in a few words what a value is; what has a name is linked."""
    if "$ref" in schema:
        name = _text(schema["$ref"].rsplit("/", 1)[-1])
        return f'<a href="#schema-{name}">{name}</a>'
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return " or ".join(dict.fromkeys(_kind(one) for one in schema[several]))
    if "enum" in schema:
        return " or ".join(f"<code>{_text(str(value))}</code>" for value in schema["enum"])
    if "const" in schema:
        return f"<code>{_text(str(schema['const']))}</code>"
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    return _text(str(schema.get("format") or schema.get("type") or "anything"))


def _table(title: str, rows: Sequence[tuple[str, ...]]) -> str:
    if not rows:
        return ""
    shown = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<table><tr><th colspan="{len(rows[0])}">{title}</th></tr>{shown}</table>'


def _prose(text: str) -> str:
    return "".join(f"<p>{_text(paragraph)}</p>" for paragraph in text.strip().split("\n\n"))


def _text(text: str) -> str:
    return _CODE.sub(r"<code>\1</code>", html.escape(text))
