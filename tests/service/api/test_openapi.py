"""The document is complete, and its examples are true."""

from __future__ import annotations

from typing import Any

import pytest
from openapi_spec_validator import validate

from service.api import examples
from service.api.contract import answer_of
from tests.fixtures_api import Api

PATHS = {
    "/v1/runs": {"get", "post"},
    "/v1/runs/{run_id}": {"get", "patch"},
    "/v1/runs/{run_id}:cancel": {"post"},
    "/v1/runs/{run_id}:pause": {"post"},
    "/v1/runs/{run_id}:resume": {"post"},
    "/v1/runs/{run_id}:retry": {"post"},
    "/v1/runs/{run_id}:clone": {"post"},
    "/v1/runs/{run_id}/attempts": {"get"},
    "/v1/runs/{run_id}/events": {"get"},
    "/v1/runs/{run_id}/logs": {"get"},
    "/v1/events": {"get"},
    "/v1/runs/{run_id}/metrics": {"get"},
    "/v1/runs/{run_id}/metrics/stream": {"get"},
    "/v1/sweeps/{sweep_id}/metrics/stream": {"get"},
    "/v1/runs/{run_id}/bias_statistics": {"get"},
    "/v1/runs/{run_id}/diagnostics": {"get"},
    "/v1/runs/{run_id}/checkpoints": {"get"},
    "/v1/results:query": {"post"},
    "/v1/sweeps": {"get", "post"},
    "/v1/sweeps:preview": {"post"},
    "/v1/sweeps/{sweep_id}": {"get", "patch"},
    "/v1/sweeps/{sweep_id}:cancel": {"post"},
    "/v1/sweeps/{sweep_id}:pause": {"post"},
    "/v1/sweeps/{sweep_id}:resume": {"post"},
    "/v1/sweeps/{sweep_id}:retry_failed": {"post"},
    "/v1/sweeps/{sweep_id}:extend": {"post"},
    "/v1/sweeps/{sweep_id}/runs": {"get"},
    "/v1/sweeps/{sweep_id}/results": {"get"},
    "/v1/sweeps/{sweep_id}/trials": {"get"},
    "/v1/sweeps/{sweep_id}/results_over_seeds": {"get"},
    "/v1/sweeps/{sweep_id}/bias_statistics": {"get"},
    "/v1/runs/{run_id}:prune": {"post"},
    "/v1/sweeps/{sweep_id}:prune": {"post"},
    "/v1/checkpoints": {"get"},
    "/v1/checkpoints/{checkpoint_id}:verify": {"post"},
    "/v1/checkpoints/{checkpoint_id}/exports": {"post"},
    "/v1/checkpoints/{checkpoint_id}:recompute": {"post"},
    "/v1/chores/{chore_id}": {"get"},
    "/v1/sweeps/{sweep_id}/frontier": {"get"},
    "/v1/results:frontier": {"post"},
    "/v1/results:series": {"post"},
    "/v1/results:biases": {"post"},
    "/v1/sweeps/{sweep_id}/biases": {"get"},
    "/v1/runs:compare": {"post"},
    "/v1/checkpoints/{checkpoint_id}": {"get", "patch", "delete"},
    "/v1/checkpoints/{checkpoint_id}/download": {"get", "head"},
    "/v1/queue": {"get"},
    "/v1/queue/shares": {"get"},
    "/v1/runs/{run_id}/explain": {"get"},
    "/v1/nodes": {"get"},
    "/v1/nodes:drain": {"post"},
    "/v1/nodes:undrain": {"post"},
    "/v1/sweeps/{sweep_id}:share": {"post"},
    "/v1/sweeps/{sweep_id}:unshare": {"post"},
    "/v1/users": {"get", "post"},
    "/v1/users/{user_id}": {"get", "patch"},
    "/v1/tokens": {"get", "post"},
    "/v1/tokens/{token_id}:revoke": {"post"},
    "/v1/audit": {"get"},
    "/v1/me": {"get"},
    "/v1/version": {"get"},
    "/metrics": {"get"},
    "/livez": {"get"},
    "/readyz": {"get"},
}


@pytest.fixture(scope="module")
def document(quick_api: Api) -> dict[str, Any]:
    found: dict[str, Any] = quick_api.get("/openapi.json").json()
    return found


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(path, method, found) for path, methods in document["paths"].items() for method, found in methods.items()]


def test_the_document_is_valid_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    validate(document)


def test_the_document_lists_what_there_is(document: dict[str, Any]) -> None:
    assert {path: set(methods) for path, methods in document["paths"].items()} == PATHS


def test_every_operation_has_a_name_and_a_description(document: dict[str, Any]) -> None:
    names = [found["operationId"] for _, _, found in operations(document)]
    assert len(names) == len({*names})
    for path, method, found in operations(document):
        assert found.get("description"), (path, method)
        for parameter in found.get("parameters", []):
            assert parameter.get("description") or parameter["in"] == "path", (path, parameter["name"])


def test_every_field_of_every_schema_is_described(document: dict[str, Any]) -> None:
    silent = [
        f"{name}.{field}"
        for name, schema in document["components"]["schemas"].items()
        for field, found in schema.get("properties", {}).items()
        if "description" not in found
    ]
    assert silent == []


def test_every_error_is_told_as_a_problem(document: dict[str, Any]) -> None:
    for path, method, found in operations(document):
        errors = {status: response for status, response in found["responses"].items() if int(status) >= 400}
        if path.startswith("/v1"):
            assert {"401", "503"} <= errors.keys(), (path, method)
        for status, error in errors.items():
            response = answer_of(document, error)
            kinds = {"application/json"} if path == "/readyz" and status == "503" else {"application/problem+json"}
            assert set(response["content"]) == kinds, (path, status)
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_everything_under_v1_needs_the_bearer_token(document: dict[str, Any]) -> None:
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    for path, _, found in operations(document):
        assert ("security" in found) == (path.startswith("/v1") or path == "/metrics")


@pytest.mark.parametrize("name", list(examples.RUNS))
def test_every_example_of_a_run_can_be_submitted(quick_api: Api, name: str) -> None:
    assert quick_api.post("/v1/runs", examples.RUNS[name]["value"]).status_code == 201


@pytest.mark.parametrize("name", list(examples.SWEEPS))
def test_every_example_of_a_sweep_can_be_submitted(quick_api: Api, name: str) -> None:
    assert quick_api.post("/v1/sweeps", examples.SWEEPS[name]["value"]).status_code == 201


def test_the_examples_stand_in_the_document(document: dict[str, Any]) -> None:
    content = document["paths"]["/v1/runs"]["post"]["requestBody"]["content"]["application/json"]
    assert set(content["examples"]) == set(examples.RUNS)
    assert document["components"]["schemas"]["Problem"]["examples"]
