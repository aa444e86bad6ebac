"""The log of changes: each change once, with it or not at all, in brief; and who may read what of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from prolu.client.wire import NodeRead
from service.store.db import database_now
from service.store.models import AuditRow
from tests.fixtures_api import Api
from tests.service.api.people import person
from tests.service.api.test_problems import problem_of
from tests.service.api.work import RUN, submit, sweep_body
from tests.service.store.operations import see


def newest(api: Api, **filters: Any) -> dict[str, Any]:
    entry: dict[str, Any] = api.get("/v1/audit", limit=1, **filters).json()["items"][0]
    return entry


def entries(api: Api) -> int:
    with api.database.read() as session:
        return session.scalars(select(func.count()).select_from(AuditRow)).one()


def test_a_change_tells_who_what_when_and_with_which_token(api: Api) -> None:
    ada = person(api, "ada", scope="write")
    me = ada.get("/v1/me").json()
    answer = ada.post("/v1/runs", RUN, X_Request_Id="my-request")
    entry = newest(api)
    assert (entry["user"], entry["token_id"], entry["request_id"]) == ("ada", me["token_id"], "my-request")
    assert (entry["action"], entry["target_kind"], entry["target_id"]) == ("submit_run", "run", answer.json()["id"])
    assert entry["before"] is None
    assert entry["after"] == {
        "name": "one",
        "digest": answer.json()["digest"],
        "tier": "normal",
        "priority": 50,
    }


def test_every_verb_of_a_run_leaves_one_entry_that_says_what_is_different(api: Api) -> None:
    run = submit(api)["id"]
    for verb, before, after in (
        ("pause", {"desired_state": "running"}, {"desired_state": "paused"}),
        ("resume", {"desired_state": "paused"}, {"desired_state": "running"}),
        ("cancel", {"desired_state": "running"}, {"desired_state": "cancelled"}),
    ):
        count = entries(api)
        for _ in range(2):  # the second changes nothing, or is refused
            api.post(f"/v1/runs/{run}:{verb}")
        entry = newest(api)
        assert (entry["action"], entry["before"], entry["after"]) == (f"{verb}_run", before, after)
        assert entries(api) == count + 1
    run = submit(api)["id"]
    api.http.patch(f"/v1/runs/{run}", json={"priority": 70, "tier": "high", "preemptible": False})
    entry = newest(api, target=run)
    assert (entry["action"], entry["before"]) == ("change_run", {"tier": "normal", "priority": 50})
    assert entry["after"] == {"tier": "high", "priority": 70}
    clone = api.post(f"/v1/runs/{run}:clone", {}).json()["id"]
    assert newest(api, action="clone_run")["after"]["cloned_from"] == run
    assert newest(api)["target_id"] == clone


def test_a_sweep_is_one_entry_however_many_runs_it_has(api: Api) -> None:
    count = entries(api)
    sweep = api.post("/v1/sweeps", sweep_body(40)).json()["id"]
    assert (entries(api), newest(api)["after"]["runs"]) == (count + 1, 40)
    api.post(f"/v1/sweeps/{sweep}:cancel")
    entry = newest(api)
    assert (entries(api), entry["action"]) == (count + 2, "cancel_sweep")
    assert (entry["before"], entry["after"]) == (
        {"desired_states": {"running": 40}},
        {"desired_states": {"cancelled": 40}},
    )
    sweep = api.post("/v1/sweeps", sweep_body(2)).json()["id"]
    api.post(f"/v1/sweeps/{sweep}:extend", sweep_body(3))
    assert newest(api)["after"]["runs"] == 3


def test_nodes_users_and_tokens_are_told_too_and_nothing_secret_is(api: Api) -> None:
    with api.database.begin() as session:
        see(session, NodeRead(name="10.0.0.1/a", cpus=1, gpus=0, memory_gb=1))
    api.post("/v1/nodes:drain", {"node": "10.0.0.1/a", "evict": True, "reason": "disks"})
    entry = newest(api)
    assert (entry["action"], entry["target_id"], entry["before"]["draining"]) == ("drain_node", "10.0.0.1/a", False)
    assert entry["after"] == {"draining": True, "evicting": True, "drain_reason": "disks"}
    api.post("/v1/nodes:undrain", {"node": "10.0.0.1/a"})
    assert newest(api)["action"] == "undrain_node"
    count = entries(api)
    api.post("/v1/nodes:undrain", {"node": "10.0.0.1/a"})
    assert entries(api) == count
    user = api.post("/v1/users", {"name": "ada"}).json()
    api.http.patch(f"/v1/users/{user['id']}", json={"role": "viewer", "weight": 1.0})
    entry = newest(api, target=user["id"])
    assert (entry["before"], entry["after"]) == ({"role": "member"}, {"role": "viewer"})
    token = api.post("/v1/tokens", {"name": "laptop"}).json()
    entry = newest(api, target=token["id"])
    assert set(entry["after"]) == {"user", "name", "scope", "expires_at"}
    api.post(f"/v1/tokens/{token['id']}:revoke")
    assert newest(api)["action"] == "revoke_token"
    assert token["token"] not in api.get("/v1/audit").text


def test_what_was_refused_or_rolled_back_leaves_no_entry(api: Api) -> None:
    ada, run = person(api, "ada"), submit(api)["id"]
    api.post("/v1/runs", RUN, Idempotency_Key="k")
    count = entries(api)
    problem_of(ada.post(f"/v1/runs/{run}:cancel"), 403, "forbidden")
    problem_of(api.post("/v1/runs", {"spec": {}}), 422, "invalid_request")
    assert api.post("/v1/runs", RUN, Idempotency_Key="k").status_code == 201
    assert entries(api) == count


def test_members_read_their_own_changes_and_administrators_all(api: Api) -> None:
    ada, bob = person(api, "ada"), person(api, "bob")
    run = ada.post("/v1/runs", RUN).json()["id"]
    bob.post("/v1/runs", RUN)
    assert [entry["target_id"] for entry in ada.get("/v1/audit").json()["items"]] == [run]
    assert ada.get("/v1/audit?user=ada").json() == ada.get("/v1/audit").json()
    problem_of(ada.get("/v1/audit?user=bob"), 403, "forbidden")
    assert bob.get(f"/v1/audit?target={run}").json()["items"] == []
    assert {entry["user"] for entry in api.get("/v1/audit").json()["items"]} == {"ada", "bob", None}
    assert [entry["target_id"] for entry in api.get("/v1/audit", user="ada").json()["items"]] == [run]


def test_pages_are_the_newest_first_and_none_is_told_twice(api: Api) -> None:
    runs = [submit(api)["id"] for _ in range(5)]
    seen: list[str] = []
    cursor = None
    while True:
        found = {"limit": 2, "action": "submit_run"} | ({} if cursor is None else {"cursor": cursor})
        page = api.get("/v1/audit", **found).json()
        seen += [entry["target_id"] for entry in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == runs[::-1]


def test_times_bound_the_log_from_the_first_moment_to_before_the_last(api: Api) -> None:
    submit(api)
    at = newest(api)["at"]
    with api.database.begin() as session:
        session.add(
            AuditRow(
                at=database_now(session) + timedelta(hours=1),
                action="later",
                target_kind="run",
                target_id="x",
                request_id="",
            )
        )
    assert {entry["action"] for entry in api.get("/v1/audit", since=at).json()["items"]} == {"later", "submit_run"}
    assert "submit_run" not in {entry["action"] for entry in api.get("/v1/audit", until=at).json()["items"]}
    later = (api.get("/v1/audit", action="later").json()["items"][0])["at"]
    assert [entry["action"] for entry in api.get("/v1/audit", since=later).json()["items"]] == ["later"]


@pytest.mark.parametrize(
    "query",
    [
        "since=yesterday",
        "since=2026-01-01T00:00:00",
        "since=0001-01-01T00:00:00%2B14:00",
        "until=9999-12-31T23:59:59-14:00",
        "user=%00",
        "target=" + "a" * 201,
        "limit=501",
        "cursor=x",
        "colour=red",
    ],
)
def test_a_question_that_makes_no_sense_is_refused(quick_api: Api, query: str) -> None:
    assert quick_api.http.get(f"/v1/audit?{query}").status_code == 422
