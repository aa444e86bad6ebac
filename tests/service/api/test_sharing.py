"""A sweep that is edited together: what an editor may do, what not, and whose the consequences are."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from tests.fixtures_api import Api, running_api
from tests.service.api.people import Person, person
from tests.service.api.test_problems import problem_of
from tests.service.api.work import sweep_body


def shared(api: Api) -> tuple[Person, Person, str, list[str]]:
    """Ada's sweep of two, shared with bob: both, its id, and those of its runs."""
    ada, bob = person(api, "ada", scope="write"), person(api, "bob", scope="write")
    sweep = ada.post("/v1/sweeps", sweep_body(2)).json()["id"]
    answer = ada.post(f"/v1/sweeps/{sweep}:share", {"users": ["bob"]})
    assert (answer.status_code, answer.json()["editors"]) == (200, ["bob"])
    return ada, bob, sweep, [run["id"] for run in ada.get(f"/v1/sweeps/{sweep}/runs").json()["items"]]


def test_an_editor_decides_about_the_sweep_and_its_runs_until_it_is_unshared(api: Api) -> None:
    ada, bob, sweep, (first, second) = shared(api)
    assert bob.send("PATCH", f"/v1/sweeps/{sweep}", {"priority": 60}).status_code == 200
    assert bob.post(f"/v1/runs/{first}:pause").status_code == 202
    assert bob.post(f"/v1/runs/{first}:resume").status_code == 202
    extended = bob.post(f"/v1/sweeps/{sweep}:extend", sweep_body(3))
    assert (extended.status_code, extended.json()["count"]) == (202, 3)
    owners = {run["owner"] for run in bob.get(f"/v1/sweeps/{sweep}/runs").json()["items"]}
    assert owners == {"ada"}
    assert bob.get("/v1/me").json()["limits"]["queued"] == 0
    assert ada.post(f"/v1/sweeps/{sweep}:unshare", {"users": ["bob"]}).json()["editors"] == []
    for path in (f"/v1/runs/{second}:cancel", f"/v1/sweeps/{sweep}:cancel"):
        problem = problem_of(bob.post(path), 403, "forbidden")
        assert "have the sweep shared with you" in problem.detail


def test_an_editor_neither_shares_nor_reaches_beyond_the_sweep(api: Api) -> None:
    ada, bob, sweep, _ = shared(api)
    person(api, "carol")
    problem_of(bob.post(f"/v1/sweeps/{sweep}:share", {"users": ["carol"]}), 403, "forbidden")
    problem_of(bob.post(f"/v1/sweeps/{sweep}:unshare", {"users": ["bob"]}), 403, "forbidden")
    problem_of(bob.send("PATCH", f"/v1/sweeps/{sweep}", {"tier": "high"}), 403, "forbidden")
    other = ada.post("/v1/sweeps", sweep_body(1)).json()["id"]
    problem_of(bob.post(f"/v1/sweeps/{other}:cancel"), 403, "forbidden")
    assert api.post(f"/v1/sweeps/{sweep}:share", {"users": ["carol"]}).json()["editors"] == ["bob", "carol"]


def test_an_editor_who_was_made_a_viewer_decides_nothing(api: Api) -> None:
    _, bob, sweep, _ = shared(api)
    api.http.patch(f"/v1/users/{bob.id}", json={"role": "viewer"})
    problem_of(bob.post(f"/v1/sweeps/{sweep}:cancel"), 403, "forbidden")


@pytest.mark.parametrize(
    ("users", "pointer", "words"),
    [
        (["nobody"], "/users/0", "no user 'nobody'"),
        (["bob", "ada"], "/users/1", "ada is the owner"),
        (["vi"], "/users/0", "vi is a viewer"),
        (["../x"], "/users/0", "must be a name"),
        ([], "/users", "at least 1"),
        (["bob"] * 51, "/users", "at most 50"),
    ],
)
def test_who_cannot_be_an_editor_is_named(quick_api: Api, users: Any, pointer: str, words: str) -> None:
    ada, _ = person(quick_api, "ada"), [person(quick_api, "bob"), person(quick_api, "vi", role="viewer")]
    sweep = ada.post("/v1/sweeps", sweep_body(1)).json()["id"]
    problem = problem_of(ada.post(f"/v1/sweeps/{sweep}:share", {"users": users}), 422, "invalid_request")
    assert (problem.errors[0].pointer, words in problem.detail) == (pointer, True)
    assert ada.get(f"/v1/sweeps/{sweep}").json()["editors"] == []


def test_to_share_twice_changes_nothing_and_what_is_not_there_is_not_found(api: Api) -> None:
    ada, _, sweep, _ = shared(api)
    assert ada.post(f"/v1/sweeps/{sweep}:share", {"users": ["bob"]}).json()["editors"] == ["bob"]
    problem_of(ada.post(f"/v1/sweeps/{UUID(int=7)}:share", {"users": ["bob"]}), 404, "not_found")
    shares = api.get("/v1/audit", action="share_sweep").json()["items"]
    assert [(entry["before"], entry["after"]) for entry in shares] == [({"editors": []}, {"editors": ["bob"]})]


def test_what_an_editor_adds_counts_against_the_owners_limit(tmp_path: Any) -> None:
    with running_api(tmp_path, max_queued_per_user=2) as api:
        _, bob, sweep, _ = shared(api)
        problem_of(bob.post(f"/v1/sweeps/{sweep}:extend", sweep_body(3)), 409, "queue_full")
        assert bob.post("/v1/sweeps", sweep_body(2)).status_code == 201
