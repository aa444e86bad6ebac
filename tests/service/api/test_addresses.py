"""What there is at an address, and what may be done there, whoever asks and however."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient

from service.api import reference_page
from service.api.addresses import Addresses
from tests.fixtures_api import Api
from tests.service.api.test_problems import problem_of
from tests.service.api.work import RUN

NOBODY = UUID(int=7)


def run_of(api: Api) -> str:
    return str(api.post("/v1/runs", RUN).json()["id"])


def address_list(api: Api) -> list[tuple[str, set[str]]]:
    document = api.get("/openapi.json").json()
    return [(path, {method.upper() for method in operations}) for path, operations in document["paths"].items()]


def filled(path: str) -> str:
    return "".join(
        str(NOBODY) if piece.endswith("}") else piece
        for piece in path.replace("}", "}\0").replace("{", "\0{").split("\0")
    )


def test_every_address_says_all_that_may_be_done_there_and_refuses_the_rest(quick_api: Api) -> None:
    for path, methods in address_list(quick_api):
        allowed = methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())
        answer = quick_api.http.options(filled(path))
        assert (answer.status_code, answer.content) == (204, b""), path
        assert set(answer.headers["allow"].split(", ")) == allowed, path
        for method in {"GET", "PUT", "POST", "DELETE", "PATCH", "HEAD", "TRACE", "QUERY", "BREW"} - allowed:
            refused = quick_api.http.request(method, filled(path))
            assert refused.status_code == 405, (method, path)
            assert set(refused.headers["allow"].split(", ")) == allowed, (method, path)
            if method != "HEAD":
                assert "the Allow header" in problem_of(refused, 405, "method_not_allowed").detail


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
@pytest.mark.parametrize("verb", ["cancel", "clone", "retry"])
def test_a_verb_is_never_taken_for_the_end_of_an_id(quick_api: Api, method: str, verb: str) -> None:
    answer = quick_api.http.request(method, f"/v1/runs/{run_of(quick_api)}:{verb}", json={"priority": 1})
    assert problem_of(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "OPTIONS, POST"


def test_head_says_what_get_would_without_the_body(quick_api: Api) -> None:
    path = f"/v1/runs/{run_of(quick_api)}"
    told, asked = quick_api.http.get(path), quick_api.http.head(path)
    assert (asked.status_code, asked.content) == (200, b"")
    for name in ("etag", "content-type", "content-length"):
        assert asked.headers[name] == told.headers[name]
    missing = quick_api.http.head(f"/v1/runs/{NOBODY}")
    assert (missing.status_code, missing.content) == (404, b"")
    assert missing.headers["content-type"] == "application/problem+json"


def test_head_of_a_stream_ends_at_once(quick_api: Api) -> None:
    answer = quick_api.http.head("/v1/events")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"].startswith("text/event-stream")


def test_a_slash_too_many_is_told_which_address_was_meant(quick_api: Api) -> None:
    for path in ("/v1/runs", f"/v1/runs/{NOBODY}", "/docs"):
        problem = problem_of(quick_api.get(f"{path}/"), 404, "not_found")
        assert problem.detail == f"There is nothing at {path}/; did you mean {path}?"
    assert "GET /openapi.json" in problem_of(quick_api.get("/v1/nothing/"), 404, "not_found").detail


def test_a_hostile_path_is_quoted_short_and_leads_nowhere(quick_api: Api) -> None:
    for path in (
        "/v1/runs/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/v1/../../etc/passwd",
        "/v1/runs/%00",
        "//v1/runs",
        "/" + "x" * 9_000,
    ):
        answer = quick_api.http.get(path)
        assert answer.status_code in (404, 422), path
        assert len(problem_of(answer, answer.status_code, answer.json()["code"]).detail) < 500


@pytest.mark.parametrize("path", ["/v1/runs?owner=a%00b", "/v1/runs?cursor=%00", "/v1/runs?state=%00"])
def test_a_nul_in_a_parameter_is_refused_before_any_database_sees_it(quick_api: Api, path: str) -> None:
    assert "NUL" in problem_of(quick_api.get(path), 422, "invalid_request").detail


def test_the_most_particular_address_decides() -> None:
    async def nothing(*_: Any) -> None: ...

    from fastapi import FastAPI

    app = FastAPI(openapi_url=None)
    app.add_api_route("/things/{name}", lambda name: name, methods=["GET", "DELETE"])
    app.add_api_route("/things/new", lambda: 1, methods=["POST"])
    app.add_api_route("/files/{place:path}", lambda place: place, methods=["GET"])
    addresses = Addresses(nothing, routes=lambda: app.routes)
    assert addresses.allowed("/things/new") == {"POST", "OPTIONS"}
    assert addresses.allowed("/things/old") == {"GET", "HEAD", "DELETE", "OPTIONS"}
    assert addresses.allowed("/things/a:b") is None
    assert addresses.allowed("/files/a/b/c") == {"GET", "HEAD", "OPTIONS"}
    assert addresses.allowed("/things") is None


def test_every_answer_tells_a_browser_to_do_nothing_with_it(quick_api: Api) -> None:
    for path in ("/v1/runs", "/v1/nothing", "/livez", "/openapi.json"):
        headers = quick_api.get(path).headers
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-request-id"]


def test_the_page_for_people_loads_nothing_and_runs_nothing(quick_api: Api) -> None:
    with TestClient(quick_api.http.app) as stranger:
        answer = stranger.get("/docs")
    assert answer.headers["content-security-policy"] == reference_page.POLICY
    assert "'none'; style-src 'sha256-" in reference_page.POLICY
    for word in ("<script", "http://", "https://", "src=", "url(", "@import", "style="):
        assert word not in answer.text
    for path, methods in address_list(quick_api):
        assert f"<code>{path}</code>" in answer.text
        assert methods


def test_the_page_for_people_escapes_what_it_shows() -> None:
    document = {
        "openapi": "3.1.0",
        "info": {"title": "<b>", "version": "1", "description": "a `<script>` & more"},
        "tags": [],
        "paths": {
            "/<x>": {"get": {"operationId": '"', "summary": "<i>", "responses": {"200": {"description": "<u>"}}}}
        },
        "components": {"schemas": {"<s>": {"properties": {"<f>": {"enum": ["<e>"]}}}}},
    }
    shown = reference_page.page(document)
    for tag in ("<b>", "<script>", "<x>", "<i>", "<u>", "<s>", "<f>", "<e>"):
        assert tag not in shown
