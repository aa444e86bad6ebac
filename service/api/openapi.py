"""The OpenAPI document: FastAPI's, with every error told as the problem that it is."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from prolu.client.wire import Problem
from service.api.contract import METHODS, complete
from service.api.problems import MEDIA_TYPE

DESCRIPTION = """
Submit sparse-autoencoder training runs and sweeps to a shared queue, follow them, and read their metrics, bias
statistics and checkpoints.

* Every request under `/v1` carries `Authorization: Bearer TOKEN`.
* Lists have `limit` and `cursor`; follow `next_cursor` until it is null.
* Every error is `application/problem+json` (RFC 9457) with a stable `code`, a sentence that says what, got, do, the
  `request_id`, and `errors` that point at each wrong field of the body or name each wrong parameter.
* What a request may do is the lesser of its user's role (viewer, member, admin) and its token's scope (read, write, admin):
  everybody reads everything, members submit and decide about their own and about sweeps that are shared with them, admins
  about everything. 401 says what is wrong with the token, 403 what is missing.
* A user who sends too many requests gets a 429 with `Retry-After`.
* A POST may carry an `Idempotency-Key`; a repetition with the same key submits nothing and gets the same answer.
"""
_TAGS = [
    {"name": "runs", "description": "One training run: its life, its series, its checkpoints."},
    {"name": "sweeps", "description": "Many runs from one description."},
    {"name": "results", "description": "What any runs found, in tables, and against each other."},
    {"name": "checkpoints", "description": "Weights, as files with checksums."},
    {"name": "queue", "description": "What trains and what waits."},
    {"name": "events", "description": "What happens, as it happens."},
    {"name": "people", "description": "Users, tokens, limits, and who changed what."},
    {"name": "service", "description": "The service itself."},
]
_EXAMPLE = {
    "type": "about:blank",
    "title": "Unprocessable Content",
    "status": 422,
    "detail": "spec.sparsity.coefficient must be at least 0; got -1.0.",
    "code": "invalid_request",
    "request_id": "0193f8c2a1b27c55b1d5f0e5a4c3d2b1",
    "errors": [
        {"pointer": "/spec/sparsity/coefficient", "detail": "spec.sparsity.coefficient must be at least 0; got -1.0."}
    ],
}
_METHODS = ("get", "head", "put", "post", "delete", "patch")


def install(app: FastAPI) -> None:
    """Have the app serve this document."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def as_text(app: FastAPI) -> str:
    """Write the document so that two of them can be compared line by line: sorted, and without the version of the code."""
    document = app.openapi()
    document = {**document, "info": {**document["info"], "version": "0"}}
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title="prolu",
        version=app.version,
        summary="A shared training service for sparse autoencoders",
        description=DESCRIPTION,
        routes=app.routes,
        tags=_TAGS,
    )
    schemas = document["components"]["schemas"]
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs"))
    schemas["Problem"] = {**problem, "examples": [_EXAMPLE]}
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    for path, operations in document["paths"].items():
        for method in METHODS:
            if method in operations:
                _tell_errors(operations[method]["responses"], needs_token=path.startswith("/v1") or path == "/metrics")
    complete(document)
    return document


def _tell_errors(responses: dict[str, Any], *, needs_token: bool) -> None:
    """Add the errors that every operation may answer, and give all of them the shape of a problem."""
    responses.setdefault("422", {})  # an unknown query parameter
    if needs_token:
        responses.setdefault("401", {})
        responses.setdefault("403", {})
        responses.setdefault("429", {})
        responses.setdefault("503", {})
    if "413" in responses:
        responses.setdefault("400", {})
    for status, response in responses.items():
        is_problem = int(status) >= HTTPStatus.BAD_REQUEST and "ReadyRead" not in str(response)
        if is_problem:
            response["description"] = HTTPStatus(int(status)).phrase
            response["content"] = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
