"""What holds for every operation, added to the OpenAPI document: statuses, headers, links and examples.

A route says what is its own; whatever follows from its shape is told here, so that a new route is complete by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

METHODS = ("get", "head", "put", "post", "delete", "patch")
PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}

_AN_ID = "0193f8c2-a1b2-7c55-b1d5-f0e5a4c3d2b1"
# Examples by the name of a parameter, where neither a type nor a range shows what is meant.
_EXAMPLES = {
    "If-Match": '"3f2a9c0d1e4b5a6978c0d1e2f3a4b5c6"',
    "If-None-Match": '"3f2a9c0d1e4b5a6978c0d1e2f3a4b5c6"',
    "Last-Event-ID": "0",
    "accept": "application/json",
    "limit": 100,
}

_HEADERS: dict[str, tuple[str, dict[str, Any], Any]] = {
    "X-Request-Id": (
        "Identity of the request: the client's own, if it sent a short plain one. The service's log has it.",
        {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"},
        "0193f8c2a1b27c55b1d5f0e5a4c3d2b1",
    ),
    "Retry-After": ("Seconds after which the same request may succeed.", {"type": "integer", "minimum": 0}, 5),
    "WWW-Authenticate": ("How to authenticate, as RFC 6750 says.", {"type": "string"}, "Bearer"),
    "ETag": ("Stands for the present state; send it back as `If-Match`.", {"type": "string"}, _EXAMPLES["If-Match"]),
    "Location": ("Where what was made is.", {"type": "string", "format": "uri-reference"}, f"/v1/runs/{_AN_ID}"),
}
_BY_STATUS = {"401": ("WWW-Authenticate",), "429": ("Retry-After",), "503": ("Retry-After",)}

# What an answer of this schema names: the parameter that takes its id.
_NAMES = {"RunRead": "run_id", "SweepRead": "sweep_id", "CheckpointRead": "checkpoint_id", "RunSummary": "run_id"}


def complete(document: dict[str, Any]) -> None:
    """Tell of every operation what follows from its shape."""
    parameters, headers = _shared(document)
    for path, method, operation in _operations(document):
        _tell_statuses(path, operation)
        for parameter in operation.get("parameters", []):
            _give_example(parameter)
        for status, response in operation["responses"].items():
            for name in _headers_of(path, method, status, operation, parameters):
                response.setdefault("headers", {}).setdefault(name, headers[name])
    _link(document)
    _require_kinds(document, document["components"]["schemas"])
    _close_mappings(document["components"]["schemas"])
    _whole_numbers(document["components"]["schemas"])
    _share_problems(document)


def answer_of(document: dict[str, Any], response: dict[str, Any]) -> dict[str, Any]:
    """Give what an operation answers, also where it is told once for many."""
    if "$ref" not in response:
        return response
    shared: dict[str, Any] = document["components"]["responses"][response["$ref"].rsplit("/", 1)[-1]]
    return shared


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, operations in document["paths"].items():
        for method in METHODS:
            if method in operations:
                yield path, method, operations[method]


def _shared(document: dict[str, Any]) -> tuple[set[str], dict[str, Any]]:
    """Write the headers once, under components. Returns the paths that heed If-Match, and a reference to each header."""
    document["components"]["headers"] = {
        name: {"description": words, "schema": schema, "example": example}
        for name, (words, schema, example) in _HEADERS.items()
    }
    tagged = {
        path
        for path, _, operation in _operations(document)
        if any(parameter["name"] == "If-Match" for parameter in operation.get("parameters", []))
    }
    return tagged, {name: {"$ref": f"#/components/headers/{name}"} for name in _HEADERS}


def _tell_statuses(path: str, operation: dict[str, Any]) -> None:
    statuses = {"500"}
    if "{" in path:
        statuses.add("404")
    if "requestBody" in operation:
        statuses |= {"400", "413", "415"}
    for status in statuses - operation["responses"].keys():
        operation["responses"][status] = {"description": HTTPStatus(int(status)).phrase, "content": PROBLEM}
    operation["responses"] = dict(sorted(operation["responses"].items()))


def _headers_of(path: str, method: str, status: str, operation: dict[str, Any], tagged: set[str]) -> Iterator[str]:
    yield "X-Request-Id"
    if "ReadyRead" not in str(operation["responses"][status]):
        yield from _BY_STATUS.get(status, ())
    if status == "200" and path in tagged and method in ("get", "patch"):
        yield "ETag"
    if status == "201" and method == "post":
        yield "Location"


def _give_example(parameter: dict[str, Any]) -> None:
    schema = parameter.get("schema", {})
    if parameter.keys() & {"example", "examples"} or "examples" in schema:
        return
    if parameter["name"] in _EXAMPLES:
        parameter["example"] = _EXAMPLES[parameter["name"]]
    elif schema.get("format") == "uuid":
        parameter["example"] = _AN_ID
    if parameter["in"] == "path" and "description" not in parameter:
        parameter["description"] = f"Identity of the {parameter['name'].removesuffix('_id').replace('_', ' ')}."


def _link(document: dict[str, Any]) -> None:
    """Link what is made, and what lists name, to what can be done with it."""
    takes: dict[str, list[tuple[str, str]]] = {}
    for path, method, operation in _operations(document):
        for name in {*_NAMES.values()}:
            if f"{{{name}}}" in path and path.count("{") == 1:
                takes.setdefault(name, []).append((operation["operationId"], method))
    for _, method, operation in _operations(document):
        for status, response in operation["responses"].items():
            schema = response.get("content", {}).get("application/json", {}).get("schema", {}).get("$ref", "")
            found = _named(document, schema.rsplit("/", 1)[-1]) if status.startswith("2") else None
            if found is None:
                continue
            name, where = found
            makes = method == "post" and where == "/id"
            for target, how in takes.get(name, []):
                if target != operation["operationId"] and (makes or how == "get"):
                    link = {"operationId": target, "parameters": {name: f"$response.body#{where}"}}
                    response.setdefault("links", {})[target] = link


def _named(document: dict[str, Any], schema: str) -> tuple[str, str] | None:
    """Give the parameter that an answer's id goes into, and the pointer to the id; of a list that of its first item."""
    if schema in _NAMES:
        return _NAMES[schema], "/id"
    items = document["components"]["schemas"].get(schema, {}).get("properties", {}).get("items", {})
    item = items.get("items", {}).get("$ref", "").rsplit("/", 1)[-1]
    return (_NAMES[item], "/items/0/id") if item in _NAMES else None


def _require_kinds(value: Any, schemas: dict[str, Any]) -> None:
    """Where `kind` tells which of several forms a value has, each form requires it, whatever its default is."""
    if isinstance(value, dict):
        for form in value.get("oneOf", []):
            schema = schemas.get(form.get("$ref", "").rsplit("/", 1)[-1], {})
            required = schema.get("required", [])
            if "const" in schema.get("properties", {}).get("kind", {}) and "kind" not in required:
                schema["required"] = ["kind", *required]
        for inner in value.values():
            _require_kinds(inner, schemas)
    elif isinstance(value, list):
        for inner in value:
            _require_kinds(inner, schemas)


def _close_mappings(value: Any) -> None:
    """A mapping whose keys have a pattern has no others; JSON Schema would let any other key pass."""
    if isinstance(value, dict):
        if "patternProperties" in value:
            value.setdefault("additionalProperties", False)
        for inner in value.values():
            _close_mappings(inner)
    elif isinstance(value, list):
        for inner in value:
            _close_mappings(inner)


def _whole_numbers(value: Any) -> None:
    """Write bounds that are whole as such: FastAPI has made floats of them, which end at 2^53."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if isinstance(inner, float) and inner.is_integer() and "imum" in key.lower():
                value[key] = int(inner)
            else:
                _whole_numbers(inner)
    elif isinstance(value, list):
        for inner in value:
            _whole_numbers(inner)


def _share_problems(document: dict[str, Any]) -> None:
    """Tell errors that are the same everywhere once: with every operation they would be half of the document."""
    shared = document["components"].setdefault("responses", {})
    for _, _, operation in _operations(document):
        for status, response in operation["responses"].items():
            name = HTTPStatus(int(status)).phrase.title().replace(" ", "")
            if response.get("content") == PROBLEM and shared.setdefault(name, response) == response:
                operation["responses"][status] = {"$ref": f"#/components/responses/{name}"}
