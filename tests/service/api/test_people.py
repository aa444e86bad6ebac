"""Users and their tokens over HTTP: made, changed, shown once, and refused with a sentence."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import structlog
from sqlalchemy import text, update

from service import logs
from service.store.db import database_now
from service.store.models import TokenRow
from tests.fixtures_api import Api, running_api
from tests.service.api.people import Person, person, root
from tests.service.api.test_problems import problem_of
from tests.service.api.work import RUN, submit, sweep_body


def user_of(api: Api, name: str) -> dict[str, Any]:
    (found,) = api.get("/v1/users", name=name).json()["items"]
    return dict(found)


def test_a_user_is_made_found_and_changed(api: Api) -> None:
    made = api.post("/v1/users", {"name": "ada@lab.org", "weight": 2.0})
    assert made.status_code == 201
    ada = made.json()
    assert (ada["role"], ada["weight"], ada["disabled"], ada["max_queued"]) == ("member", 2.0, False, None)
    assert user_of(api, "ada@lab.org") == ada
    seen = api.get(f"/v1/users/{ada['id']}")
    changed = api.http.patch(
        f"/v1/users/{ada['id']}", json={"role": "viewer", "max_queued": 5}, headers={"If-Match": seen.headers["etag"]}
    )
    assert (changed.json()["role"], changed.json()["max_queued"], changed.json()["weight"]) == ("viewer", 5, 2.0)
    stale = api.http.patch(f"/v1/users/{ada['id']}", json={"weight": 1.0}, headers={"If-Match": seen.headers["etag"]})
    problem_of(stale, 412, "precondition_failed")
    back = api.http.patch(f"/v1/users/{ada['id']}", json={"max_queued": None})
    assert back.json()["max_queued"] is None
    problem_of(api.post("/v1/users", {"name": "ada@lab.org"}), 409, "conflict")
    names = [user["name"] for user in api.get("/v1/users").json()["items"]]
    assert names == ["admin", "ada@lab.org"]
    page = api.get("/v1/users", limit=1).json()
    assert api.get("/v1/users", cursor=page["next_cursor"]).json()["items"][0]["name"] == "ada@lab.org"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Ada",
        "a/b",
        "../etc",
        "..",
        "a b",
        "a\n",
        "a\x00",
        "\u0430da",
        "ada\u202e",
        "-ada",
        "ada.",
        "a" * 65,
        None,
        7,
    ],
)
def test_a_name_that_could_be_a_path_or_look_like_another_is_refused(quick_api: Api, name: Any) -> None:
    problem = problem_of(quick_api.post("/v1/users", {"name": name}), 422, "invalid_request")
    assert problem.errors[0].pointer == "/name"


@pytest.mark.parametrize(
    "body",
    [
        {"role": "root"},
        {"weight": 0},
        {"weight": -1.0},
        {"weight": 1e9},
        {"max_queued": 0},
        {"max_queued": 10**12},
        {"max_queued": True},
        {"disabled": "yes"},
        {"disabled": None},
        {"name": "other"},
        {},
    ],
)
def test_a_change_that_makes_no_sense_is_refused(quick_api: Api, body: dict[str, Any]) -> None:
    admin = user_of(quick_api, "admin")
    problem_of(quick_api.http.patch(f"/v1/users/{admin['id']}", json=body), 422, "invalid_request")


def test_a_name_of_ten_megabytes_is_not_read(quick_api: Api) -> None:
    problem_of(quick_api.post("/v1/users", {"name": "a" * 10_000_000}), 413, "body_too_large")
    problem_of(quick_api.post("/v1/tokens", {"name": "a" * 900_000}), 422, "invalid_request")


def test_the_last_administrator_stays(quick_api: Api) -> None:
    admin = user_of(quick_api, "admin")
    for body in ({"role": "member"}, {"disabled": True}):
        problem = problem_of(quick_api.http.patch(f"/v1/users/{admin['id']}", json=body), 409, "conflict")
        assert "last administrator" in problem.detail
    assert root(quick_api).get("/v1/me").status_code == 200


def test_a_disabled_user_is_out_at_once_and_their_runs_go_on(api: Api) -> None:
    ada = person(api, "ada")
    assert ada.post("/v1/runs", RUN).status_code == 201
    answer = api.http.patch(f"/v1/users/{ada.id}", json={"disabled": True})
    assert (answer.json()["disabled"], answer.json()["unfinished_runs"]) == (True, 1)
    problem = problem_of(ada.get("/v1/me"), 401, "unauthenticated")
    assert "ada is disabled since" in problem.detail
    (run,) = api.get("/v1/runs").json()["items"]
    assert (run["owner"], run["state"], run["desired_state"]) == ("ada", "queued", "running")
    api.http.patch(f"/v1/users/{ada.id}", json={"disabled": False})
    assert ada.get("/v1/me").status_code == 200


def test_a_role_that_was_taken_away_counts_at_once(api: Api) -> None:
    ada = person(api, "ada", role="admin")
    assert ada.get("/v1/users").status_code == 200
    api.http.patch(f"/v1/users/{ada.id}", json={"role": "member"})
    assert "needs the role admin" in problem_of(ada.get("/v1/users"), 403, "forbidden").detail


def test_a_member_makes_a_token_uses_it_and_revokes_it(api: Api) -> None:
    ada = person(api, "ada", scope="write")
    answer = ada.post("/v1/tokens", {"name": "laptop", "scope": "read", "expires_in_days": 2})
    assert answer.status_code == 201
    made = answer.json()
    assert (made["user"], made["name"], made["scope"], made["last_used_at"]) == ("ada", "laptop", "read", None)
    laptop = Person(api, "ada", made["token"])
    me = laptop.get("/v1/me").json()
    assert (me["name"], me["role"], me["scope"], me["token_id"]) == ("ada", "member", "read", made["id"])
    assert me["token_expires_at"] == made["expires_at"]
    problem = problem_of(refused := laptop.post("/v1/runs", RUN), 403, "insufficient_scope")
    assert "submit_run needs a token of the scope write, and this one has read" in problem.detail
    assert refused.headers["www-authenticate"] == 'Bearer error="insufficient_scope", scope="write"'

    api.services.gate.note_uses()
    listed = {token["name"]: token for token in ada.get("/v1/tokens").json()["items"]}
    assert set(listed) == {"laptop", "test"}
    assert listed["laptop"]["last_used_at"] is not None
    assert "token" not in listed["laptop"]
    assert made["token"] not in ada.get("/v1/tokens").text

    revoked = ada.post(f"/v1/tokens/{made['id']}:revoke").json()
    assert revoked["revoked_at"] is not None
    answer = laptop.get("/v1/me")
    assert "'laptop' was revoked at" in problem_of(answer, 401, "unauthenticated").detail
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert ada.post(f"/v1/tokens/{made['id']}:revoke").json() == revoked


def test_nobody_makes_more_than_they_have(api: Api) -> None:
    ada, viewer = person(api, "ada", scope="write"), person(api, "vi", role="viewer")
    problem_of(ada.post("/v1/tokens", {"name": "x", "scope": "admin"}), 403, "insufficient_scope")
    problem_of(ada.post("/v1/tokens", {"name": "x", "user": "admin"}), 403, "forbidden")
    problem_of(viewer.post("/v1/tokens", {"name": "x", "scope": "read"}), 403, "forbidden")
    wide = Person(api, "ada", api.token_of("ada"))
    problem = problem_of(wide.post("/v1/tokens", {"name": "x", "scope": "admin"}), 422, "invalid_request")
    assert problem.errors[0].pointer == "/scope"
    problem_of(ada.get("/v1/tokens?user=admin"), 403, "forbidden")
    (local,) = [token for token in api.get("/v1/tokens", user="admin").json()["items"] if token["name"] == "local"]
    problem_of(ada.post(f"/v1/tokens/{local['id']}:revoke"), 403, "forbidden")
    problem_of(ada.post(f"/v1/tokens/{UUID(int=7)}:revoke"), 404, "not_found")


def test_an_administrator_makes_and_revokes_tokens_for_anybody(api: Api) -> None:
    problem_of(api.post("/v1/tokens", {"name": "x", "user": "nobody"}), 404, "not_found")
    person(api, "vi", role="viewer")
    problem_of(api.post("/v1/tokens", {"name": "x", "user": "vi"}), 422, "invalid_request")
    made = api.post("/v1/tokens", {"name": "first", "user": "vi", "scope": "read"}).json()
    vi = Person(api, "vi", made["token"])
    assert vi.get("/v1/me").json()["role"] == "viewer"
    assert api.post(f"/v1/tokens/{made['id']}:revoke").status_code == 200
    assert vi.get("/v1/me").status_code == 401


def test_a_token_ends_when_it_was_said_and_no_later_than_the_operator_allows(api: Api) -> None:
    made = api.post("/v1/tokens", {"name": "short"}).json()
    assert made["expires_at"] > made["created_at"]
    problem = problem_of(api.post("/v1/tokens", {"name": "x", "expires_in_days": 367}), 422, "invalid_request")
    assert (problem.errors[0].pointer, "PROLU_MAX_TOKEN_DAYS" in problem.detail) == ("/expires_in_days", True)
    for days in (0, -1, 1e300, "7"):
        problem_of(api.post("/v1/tokens", {"name": "x", "expires_in_days": days}), 422, "invalid_request")
    short = Person(api, "admin", made["token"])
    assert short.get("/v1/me").status_code == 200
    with api.database.begin() as session:
        session.execute(
            update(TokenRow).where(TokenRow.id == UUID(made["id"])).values(expires_at=database_now(session))
        )
    api.services.gate.forget()
    assert "'short' expired at" in problem_of(short.get("/v1/me"), 401, "unauthenticated").detail


def test_a_repetition_makes_no_second_token_and_cannot_show_the_first(api: Api) -> None:
    first = api.post("/v1/tokens", {"name": "once"}, Idempotency_Key="k")
    problem = problem_of(api.post("/v1/tokens", {"name": "once"}, Idempotency_Key="k"), 409, "conflict")
    assert first.json()["id"] in problem.detail
    names = [token["name"] for token in api.get("/v1/tokens").json()["items"]]
    assert names.count("once") == 1
    with api.database.read() as session:
        kept = session.execute(text("SELECT * FROM idempotency_keys")).all()
    assert kept
    assert first.json()["token"] not in str(kept)


@pytest.mark.parametrize(
    ("authorization", "words"),
    [
        (b"Basic YTpi", "not of the scheme Bearer"),
        (b"Bearer", "malformed"),
        (b"Bearer prolu_short", "malformed"),
        (b"Bearer prolu_" + b"a" * 43 + b" prolu_" + b"b" * 43, "malformed"),
        (b"Bearer prolu_" + b"a" * 43 + b",Bearer x", "malformed"),
        ("Bearer prolu_ä".encode(), "malformed"),
        (b"Bearer \xff\xfe", "malformed"),
        (b"Bearer " + b"a" * 50_000, "malformed"),
        (b"prolu_" + b"a" * 43, "not of the scheme Bearer"),
        (b"Bearer prolu_" + b"a" * 43, "unknown"),
    ],
)
def test_a_wrong_authorization_says_what_is_wrong_and_repeats_nothing(
    quick_api: Api, authorization: bytes, words: str
) -> None:
    answer = quick_api.http.get("/v1/me", headers={b"Authorization": authorization})
    assert words in problem_of(answer, 401, "unauthenticated").detail
    assert "aaaa" not in answer.text


def test_two_authorizations_are_none(quick_api: Api) -> None:
    token = f"Bearer {root(quick_api).token}"
    answer = quick_api.http.get("/v1/me", headers=[("Authorization", token), ("Authorization", token)])
    assert "2 Authorization headers" in problem_of(answer, 401, "unauthenticated").detail


def test_a_limit_of_ones_own_goes_before_that_of_everybody(tmp_path: Path, database_url: str) -> None:
    with running_api(tmp_path, database_url=database_url, max_queued_per_user=1) as api:
        ada = person(api, "ada")
        api.http.patch(f"/v1/users/{ada.id}", json={"max_queued": 2})
        assert ada.get("/v1/me").json()["limits"]["max_queued"] == 2
        sweep = ada.post("/v1/sweeps", sweep_body(2)).json()
        problem_of(ada.post("/v1/runs", RUN), 409, "queue_full")
        assert ada.get("/v1/me").json()["limits"]["queued"] == 2
        # Whoever extends it: the limit is its owner's.
        assert api.post(f"/v1/sweeps/{sweep['id']}:extend", sweep_body(3)).status_code == 409
        api.http.patch(f"/v1/users/{ada.id}", json={"max_queued": 3})
        assert api.post(f"/v1/sweeps/{sweep['id']}:extend", sweep_body(3)).status_code == 202
        assert api.post("/v1/runs", RUN).status_code == 201
        problem_of(api.post("/v1/runs", RUN), 409, "queue_full")


def test_who_sends_too_much_is_told_to_wait_and_nobody_else_is(tmp_path: Path) -> None:
    with running_api(tmp_path, max_requests_per_second=0.01, request_burst=3) as api:
        ada = person(api, "ada")
        assert [ada.get("/v1/me").status_code for _ in range(4)] == [200, 200, 200, 429]
        answer = ada.get("/v1/me")
        problem = problem_of(answer, 429, "too_many_requests")
        assert 0 < int(answer.headers["retry-after"]) <= 100
        assert answer.headers["retry-after"] in problem.detail
        limits = api.get("/v1/me").json()["limits"]
        assert (limits["max_requests_per_second"], limits["request_burst"]) == (0.01, 3)
        assert api.get("/livez").status_code == 200


def test_no_request_of_any_kind_brings_a_token_into_the_log_or_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, handlers, level = structlog.get_config(), logging.getLogger().handlers, logging.getLogger().level
    logs.configure(level="debug", style="text")
    structlog.configure(cache_logger_on_first_use=False)  # or loggers would keep the stream that pytest closes
    try:
        with running_api(tmp_path) as api:
            made = api.post("/v1/tokens", {"name": "secret"}, Idempotency_Key="k")
            mine, theirs = made.json()["token"], root(api).token
            run = submit(api)
            answers = [
                api.post("/v1/tokens", {"name": "secret"}, Idempotency_Key="k"),
                Person(api, "admin", mine + "x").get("/v1/me"),
                Person(api, "admin", f"{mine} {theirs}").get("/v1/me"),
                api.get("/v1/tokens"),
                api.get("/v1/audit"),
                api.get(f"/v1/{mine}"),
                api.get("/v1/runs", **{mine: "x"}),
                api.get("/v1/runs", cursor=mine),
                api.get(f"/v1/runs/{mine}"),
                api.post("/v1/users", {"name": mine}),
                api.post("/v1/users", {mine: "x"}),
                api.post("/v1/tokens", {"name": mine}),
                api.post("/v1/runs", {"spec": {"name": 7, mine: mine}}),
                api.http.patch(f"/v1/runs/{run['id']}", json={"priority": 1}, headers={"If-Match": mine}),
                api.http.post("/v1/runs", content=f'{{"{mine}"', headers={"Content-Type": "application/json"}),
                api.http.request(mine, "/v1/me"),
                api.get("/v1/events", x=mine),
            ]
            api.services.gate.note_uses()
    finally:
        structlog.configure(**before)
        logging.getLogger().handlers = handlers
        logging.getLogger().setLevel(level)
    logged = capsys.readouterr()
    assert logged.err.count("request_id=") >= len(answers)
    for secret in (mine, theirs):
        assert secret not in logged.err + logged.out
        assert all(secret not in answer.text for answer in answers)
