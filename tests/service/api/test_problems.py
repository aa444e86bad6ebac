"""Every error is a problem: what, got, do; and none of them is a traceback."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import structlog
from fastapi.testclient import TestClient
from starlette.types import Message

from prolu.client.wire import Problem
from service.app import create_app
from service.settings import Settings
from tests.fixtures_api import Api
from tests.service.api.work import RUN, sweep_body
from tests.service.store.specs import DOCUMENT

JSON = {"Content-Type": "application/json"}


def problem_of(answer: Any, status: int, code: str) -> Problem:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = Problem.model_validate_json(answer.text)
    assert (problem.status, problem.code) == (status, code)
    assert problem.request_id == answer.headers["x-request-id"]
    assert problem.detail.endswith((".", "?"))
    return problem


def post_raw(api: Api, content: bytes, path: str = "/v1/runs", **headers: str) -> Any:
    return api.http.post(path, content=content, headers={**JSON, **headers})


@pytest.mark.parametrize(
    ("changes", "pointer", "words"),
    [
        ({"sparsity": {"kind": "l1", "coefficient": -1.0}}, "/spec/sparsity/coefficient", "at least 0; got -1.0"),
        ({"sparsity": {"kind": "l1", "coeficient": 1.0}}, "/spec/sparsity/coeficient", "did you mean 'coefficient'?"),
        ({"sae": {"kind": "prolu", "d_sae": 0}}, "/spec/sae/d_sae", "at least 1; got 0"),
        ({"sae": {"kind": "prollu", "d_sae": 8}}, "/spec/sae/kind", "did you mean 'prolu'?"),
        ({"training": {"steps": "10"}}, "/spec/training/steps", "a whole number; got '10'"),
        ({"training": {"steps": True}}, "/spec/training/steps", "a whole number; got true"),
        ({"training": {}}, "/spec/training/steps", "is missing"),
        ({"resources": {"gpus": 8}}, "/spec/resources/gpus", "0.01 to 1"),
        ({"name": "two\nlines"}, "/spec/name", "without line breaks"),
    ],
)
def test_a_wrong_field_is_named_with_what_it_got_and_what_to_do(
    quick_api: Api, changes: dict[str, Any], pointer: str, words: str
) -> None:
    problem = problem_of(quick_api.post("/v1/runs", {"spec": {**DOCUMENT, **changes}}), 422, "invalid_request")
    assert pointer in [error.pointer for error in problem.errors]
    assert any(words in error.detail for error in problem.errors)


def test_every_wrong_field_is_named_at_once(quick_api: Api) -> None:
    spec = {**DOCUMENT, "sae": {"kind": "prolu", "d_sae": 0}, "training": {"steps": 0}, "colour": "red"}
    problem = problem_of(quick_api.post("/v1/runs", {"spec": spec, "priority": 101}), 422, "invalid_request")
    assert {error.pointer for error in problem.errors} == {
        "/spec/sae/d_sae",
        "/spec/training/steps",
        "/spec/colour",
        "/priority",
    }


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999"])
def test_numbers_that_are_not_finite_are_refused(quick_api: Api, number: bytes) -> None:
    run = json.dumps({"spec": {**DOCUMENT, "sparsity": {"kind": "l1", "coefficient": 0.125}}})
    answer = post_raw(quick_api, run.encode().replace(b"0.125", number))
    assert problem_of(answer, 422, "invalid_request").errors[0].pointer == "/spec/sparsity/coefficient"
    sweep = json.dumps(sweep_body(grid={"sparsity.coefficient": [0.125]}))
    answer = post_raw(quick_api, sweep.encode().replace(b"0.125", number), "/v1/sweeps")
    assert problem_of(answer, 422, "invalid_request").errors[0].pointer == "/spec/grid/sparsity.coefficient/0"


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b'{"spec": }',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"priority": ' + b"9" * 5_000 + b"}",
    ],
    ids=["cut off", "empty value", "not UTF-8", "deep list", "deep mapping", "a number of 5000 digits"],
)
def test_a_body_that_is_not_json_is_malformed(quick_api: Api, content: bytes) -> None:
    problem_of(post_raw(quick_api, content), 400, "malformed_request")


def test_a_body_that_is_not_utf_8_is_told_so(quick_api: Api) -> None:
    content = b'{"spec": {"name": "caf\xe9"}}'
    problem = problem_of(post_raw(quick_api, content), 400, "malformed_request")
    assert problem.detail == "The body is not UTF-8 (byte 0xe9 at position 22); send JSON in UTF-8."
    assert "nested too deeply" in problem_of(post_raw(quick_api, b"[" * 100_000), 400, "malformed_request").detail


@pytest.mark.parametrize("coding", ["gzip", "br", "identity, gzip"])
def test_a_compressed_body_is_refused_as_such(quick_api: Api, coding: str) -> None:
    content = gzip.compress(json.dumps(RUN).encode())
    answer = post_raw(quick_api, content, **{"Content-Encoding": coding})
    problem = problem_of(answer, 415, "unsupported_media_type")
    assert problem.detail == f"The Content-Encoding of the body is {coding!r}; send it as it is, without any."


def test_a_body_that_says_it_is_not_encoded_is_read(quick_api: Api) -> None:
    answer = post_raw(quick_api, json.dumps(RUN).encode(), **{"Content-Encoding": "identity"})
    assert answer.status_code == 201


@pytest.mark.parametrize("content", [b"", b"null", b"[]", b"3", b'"spec"'])
def test_a_body_that_is_no_mapping_says_so(quick_api: Api, content: bytes) -> None:
    assert "mapping" in problem_of(post_raw(quick_api, content), 422, "invalid_request").detail


def test_a_deep_value_in_a_sweep_is_refused_before_it_is_walked(quick_api: Api) -> None:
    deep: Any = 1
    for _ in range(500):
        deep = [deep]
    answer = quick_api.post("/v1/sweeps", sweep_body(grid={"training.seed": [deep]}))
    assert "deep" in problem_of(answer, 422, "invalid_request").detail


def test_text_that_no_database_stores_is_refused(quick_api: Api) -> None:
    for text in (b"\\u0000", b"\\ud800"):
        content = json.dumps(sweep_body(name="MARK")).encode().replace(b"MARK", text)
        problem_of(post_raw(quick_api, content, "/v1/sweeps"), 422, "invalid_request")


def test_a_huge_whole_number_is_refused_as_a_value(quick_api: Api) -> None:
    spec = {**DOCUMENT, "training": {"steps": 10, "seed": 10**400}}
    problem = problem_of(quick_api.post("/v1/runs", {"spec": spec}), 422, "invalid_request")
    assert problem.errors[0].pointer == "/spec/training/seed"


def test_another_content_type_is_refused(quick_api: Api) -> None:
    for kind in ("application/yaml", "text/plain", "multipart/form-data; boundary=x"):
        answer = quick_api.http.post("/v1/runs", content=b"spec: {}", headers={"Content-Type": kind})
        assert kind in problem_of(answer, 415, "unsupported_media_type").detail


def test_a_long_body_is_refused_by_its_announced_length(quick_api: Api) -> None:
    problem = problem_of(post_raw(quick_api, b" " * 10_000_000), 413, "body_too_large")
    assert "1000000 bytes" in problem.detail


def test_a_long_body_without_a_length_is_refused_before_it_is_read_whole(quick_api: Api) -> None:
    given, answer = 0, bytearray()

    async def receive() -> Message:
        nonlocal given
        given += 1
        return {"type": "http.request", "body": b" " * 100_000, "more_body": given < 100}

    async def send(message: Message) -> None:
        answer.extend(message.get("body", b""))

    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/v1/runs", "query_string": b"", "headers": headers}
    asyncio.run(quick_api.http.app(scope, receive, send))
    assert Problem.model_validate_json(bytes(answer)).code == "body_too_large"
    assert given == 11


def test_a_body_just_short_enough_is_read(quick_api: Api) -> None:
    content = json.dumps(RUN).encode()
    padded = content + b" " * (quick_api.settings.max_body_bytes - len(content))
    assert post_raw(quick_api, padded).status_code == 201
    problem_of(post_raw(quick_api, padded + b" "), 413, "body_too_large")


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/nothing", "/v1/runs/", "/v2/runs"])
def test_an_unknown_address_is_not_found(quick_api: Api, path: str) -> None:
    problem_of(quick_api.get(path), 404, "not_found")


@pytest.mark.parametrize(
    "path", [f"/v1/runs/{UUID(int=7)}:explode", "/v1/runs/7:explode", f"/v1/sweeps/{UUID(int=7)}:explode", "/v1/runs:x"]
)
def test_an_unknown_verb_is_not_found(quick_api: Api, path: str) -> None:
    assert path in problem_of(quick_api.post(path), 404, "not_found").detail


def test_an_unknown_query_parameter_is_named_with_the_known_ones(quick_api: Api) -> None:
    problem = problem_of(quick_api.get("/v1/runs", stat="queued", limt=1), 422, "invalid_request")
    assert problem.detail == (
        "The query parameter 'stat' is not known here; did you mean 'state'? Known are "
        "archived, cursor, filter, id, limit, order_by, owner, state, sweep_id. "
        "The query parameter 'limt' is not known here; did you mean 'limit'? "
        "Known are archived, cursor, filter, id, limit, order_by, owner, state, sweep_id."
    )
    assert [error.pointer for error in problem.errors] == ["query:stat", "query:limt"]
    assert " ".join(error.detail for error in problem.errors) == problem.detail
    problem = problem_of(quick_api.post("/v1/runs?dry_run=1", RUN), 422, "invalid_request")
    assert problem.detail == "The query parameter 'dry_run' is not known here; none is; leave it out."


@pytest.mark.parametrize("path", ["/v1/me", "/v1/version", "/livez", "/readyz", "/v1/queue", "/v1/sweeps"])
def test_no_address_takes_an_unknown_query_parameter(quick_api: Api, path: str) -> None:
    problem_of(quick_api.get(path, x="1"), 422, "invalid_request")


def test_readyz_waits_for_no_writer(quick_api: Api) -> None:
    with quick_api.database.begin():
        assert quick_api.get("/readyz").status_code == 200


def test_a_wrong_method_is_told_which_are_right(quick_api: Api) -> None:
    answer = quick_api.http.delete("/v1/sweeps")
    problem_of(answer, 405, "method_not_allowed")
    assert answer.headers["allow"]


@pytest.mark.parametrize(
    ("path", "pointer", "words"),
    [
        ("/v1/runs/abc", "path:run_id", "The path parameter run_id must be a whole id (a UUID); got 'abc'."),
        ("/v1/runs?limit=0", "query:limit", "parameter limit must be at least 1; got '0'."),
        ("/v1/runs?limit=501", "query:limit", "limit must be at most 500; got '501'."),
        ("/v1/runs?limit=many", "query:limit", "limit must be a whole number; got 'many'."),
        (
            "/v1/audit?since=yesterday",
            "query:since",
            "since must be a time such as 2026-01-31T12:00:00Z; got 'yesterday'.",
        ),
        ("/v1/runs?filter=" + "x" * 4001, "query:filter", "filter must have at most 4000 characters; got 4001."),
        ("/v1/runs?state=sleeping", "query:state", "state must be 'queued', 'starting'"),
    ],
)
def test_a_wrong_parameter_is_named(quick_api: Api, path: str, pointer: str, words: str) -> None:
    problem = problem_of(quick_api.get(path), 422, "invalid_request")
    assert words in problem.detail
    assert [(error.pointer, error.detail) for error in problem.errors] == [(pointer, problem.detail)]


def test_a_wrong_header_is_named(quick_api: Api) -> None:
    problem = problem_of(quick_api.post("/v1/runs", RUN, Idempotency_Key="k" * 201), 422, "invalid_request")
    assert [error.pointer for error in problem.errors] == ["header:idempotency-key"]


@pytest.mark.parametrize("cursor", ["zzz", "é", "W10", "WzFd", "W251bGxd", "Wy0xXQ=======", "x" * 499, "WzllOTld"])
def test_a_cursor_that_was_never_given_out_is_refused(quick_api: Api, cursor: str) -> None:
    problem = problem_of(quick_api.get("/v1/runs", cursor=cursor), 422, "invalid_cursor")
    assert [error.pointer for error in problem.errors] == ["query:cursor"]


@pytest.mark.parametrize(
    ("path", "position"),
    [
        ("/v1/runs/{run}/metrics", [5, "\0"]),
        ("/v1/runs/{run}/metrics", [2**63, "train"]),
        ("/v1/runs/{run}/logs", [2**40, 1]),
        ("/v1/runs/{run}/checkpoints", [1, 2**40]),
        ("/v1/runs/{run}/attempts", [2**40]),
        ("/v1/runs/{run}/events", [2**63]),
        ("/v1/sweeps/{sweep}/runs", [2**40]),
        ("/v1/sweeps/{sweep}/results", [2**40]),
        ("/v1/sweeps/{sweep}/bias_statistics", [2**40]),
    ],
)
def test_a_cursor_that_names_what_no_row_has_is_refused(api: Api, path: str, position: list[object]) -> None:
    names = {"run": api.post("/v1/runs", RUN).json()["id"], "sweep": api.post("/v1/sweeps", sweep_body()).json()["id"]}
    cursor = base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")
    problem_of(api.get(path.format(**names), cursor=cursor), 422, "invalid_cursor")


def test_a_cursor_of_another_list_is_refused_or_harmless(quick_api: Api) -> None:
    for _ in range(2):
        quick_api.post("/v1/runs", RUN)
    cursor = quick_api.get("/v1/runs", limit=1).json()["next_cursor"]
    run_id = quick_api.get("/v1/runs").json()["items"][0]["id"]
    problem_of(quick_api.get(f"/v1/runs/{run_id}/metrics", cursor=cursor), 422, "invalid_cursor")


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer ", "Bearer wrong", "Basic YTpi", "Bearer prolu_" + "a" * 43]
)
@pytest.mark.parametrize("path", ["/v1/runs", "/v1/me", "/v1/queue", "/v1/version"])
def test_without_a_valid_token_nothing_is_told(quick_api: Api, path: str, authorization: str | None) -> None:
    with TestClient(quick_api.http.app) as stranger:
        headers = {} if authorization is None else {"Authorization": authorization}
        answer = stranger.get(path, headers=headers)
    problem_of(answer, 401, "unauthenticated")
    assert answer.headers["www-authenticate"] == ("Bearer" if authorization is None else 'Bearer error="invalid_token"')


def test_a_plain_request_id_is_echoed_and_a_strange_one_replaced(quick_api: Api) -> None:
    answer = quick_api.http.get("/v1/me", headers={"X-Request-Id": "my-id.7"})
    assert answer.headers["x-request-id"] == "my-id.7"
    for strange in ("a b", "x" * 129, "<script>", "é".encode()):
        answer = quick_api.http.get("/v1/nothing", headers={"X-Request-Id": strange})
        assert problem_of(answer, 404, "not_found").request_id.isalnum()


def test_what_nobody_caught_is_a_problem_without_a_traceback(tmp_path: Path) -> None:
    app = create_app(Settings(data_dir=tmp_path))

    @app.get("/broken")
    def broken() -> None:
        raise ZeroDivisionError("secret detail")

    with TestClient(app) as http, structlog.testing.capture_logs() as logged:
        answer = http.get("/broken")
    problem = problem_of(answer, 500, "internal_error")
    assert "secret" not in answer.text
    assert problem.request_id in [entry.get("request_id", problem.request_id) for entry in logged]
    assert "request_failed" in [entry["event"] for entry in logged]


def test_a_database_out_of_reach_is_unavailable_for_now(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    with TestClient(create_app(settings)) as http:
        token = settings.token_file.read_text().strip()
        (tmp_path / "prolu.db").unlink()
        (tmp_path / "prolu.db").mkdir()
        http.app.state.services.database.dispose()  # type: ignore[attr-defined]
        answer = http.get("/v1/me", headers={"Authorization": f"Bearer {token}"})
        ready = http.get("/readyz")
    problem_of(answer, 503, "unavailable")
    assert answer.headers["retry-after"].isdigit()
    assert ready.status_code == 503
    assert "does not answer" in ready.json()["checks"]["database"]


def test_no_token_is_ever_logged(quick_api: Api) -> None:
    with structlog.testing.capture_logs() as logged:
        quick_api.post("/v1/runs", RUN)
        quick_api.http.get("/v1/me", headers={"Authorization": "Bearer prolu_" + "s" * 43})
    assert len(logged) == 2
    secret = quick_api.settings.token_file.read_text().strip()
    assert secret not in str(logged)
    assert "s" * 43 not in str(logged)


def test_a_wrong_parameter_is_told_before_a_wrong_body(quick_api: Api) -> None:
    problem = problem_of(quick_api.http.patch("/v1/sweeps/none", json={}), 422, "invalid_request")
    assert [error.pointer for error in problem.errors] == ["path:sweep_id"]
