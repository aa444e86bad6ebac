"""Every route of the app, asked by everybody: each role, each scope, for one's own and for others' things.

A route without a rule in `service.domain.access` fails here, and so does one that does not keep to its rule.
"""

from __future__ import annotations

from itertools import product
from typing import Any, get_args

import pytest

from prolu.client.wire import Role, Scope
from service.domain.access import RULES, need_of
from service.domain.expansion import expand
from service.store import queue
from service.store.tokens import issue
from tests.fixtures_api import Api
from tests.service.api.people import Person, person
from tests.service.api.work import RUN, sweep_body
from tests.service.store.specs import run_spec, sweep_spec

# What has to be valid for the question whose the thing is to be asked at all.
BODIES: dict[str, Any] = {
    "change_run": {"priority": 7},
    "change_sweep": {"priority": 7},
    "extend_sweep": sweep_body(1),
    "share_sweep": {"users": ["carol"]},
    "unshare_sweep": {"users": ["carol"]},
    "prune_run": {"dry_run": True},
    "prune_sweep": {"dry_run": True},
}
# Who may least stands first.
EVERYBODY: list[tuple[Role, Scope]] = list(product(reversed(get_args(Role)), get_args(Scope)))


def test_every_operation_has_a_rule_and_every_rule_an_operation(quick_api: Api) -> None:
    document = quick_api.get("/openapi.json").json()
    there = {found["operationId"] for methods in document["paths"].values() for found in methods.values()}
    assert there - RULES.keys() == set(), "add what they ask for to RULES of service.domain.access"
    assert RULES.keys() - there == set(), "take them out of RULES of service.domain.access"


@pytest.fixture(scope="module")
def people(quick_api: Api) -> dict[tuple[Role, Scope], Person]:
    person(quick_api, "carol")
    return {(role, scope): person(quick_api, f"{role}-{scope}", role=role, scope=scope) for role, scope in EVERYBODY}


@pytest.fixture(scope="module")
def things(quick_api: Api, people: dict[tuple[Role, Scope], Person]) -> dict[str, dict[str, str]]:
    """A run, a sweep, a token and a user of everybody, and of somebody else, by the names of path parameters."""
    return {
        owner.name: _things_of(quick_api, owner) for owner in [*people.values(), person(quick_api, "somebody-else")]
    }


def _things_of(api: Api, owner: Person) -> dict[str, str]:
    # Roles that may not submit have things from when they might.
    with api.database.begin() as session:
        spec = sweep_spec(1)
        run = queue.submit_run(session, owner_id=owner.id, spec=run_spec(), priority=50)
        sweep = queue.submit_sweep(session, owner_id=owner.id, spec=spec, points=expand(spec), priority=50)
        token = issue(session, owner.id, name="spare").id
    return {"run_id": str(run.id), "sweep_id": str(sweep.id), "token_id": str(token), "user_id": str(owner.id)}


def test_everybody_is_let_in_or_refused_by_the_rule(
    quick_api: Api, people: dict[tuple[Role, Scope], Person], things: dict[str, dict[str, str]]
) -> None:
    document = quick_api.get("/openapi.json").json()
    wrong = []
    for path, methods in document["paths"].items():
        for method, found in methods.items():
            operation = found["operationId"]
            if set(found["responses"].get("200", {}).get("content", ())) == {"text/event-stream"}:
                continue  # it does not end, and needs what lists need
            need = need_of(operation, method.upper())
            reads = need in ("open", "read")  # what who may least may do, everybody may
            for (role, scope), whose in product(EVERYBODY[:1] if reads else EVERYBODY, ("own", "other's")):
                asks = people[role, scope]
                thing = things[asks.name if whose == "own" else "somebody-else"]
                names = {part[1:].split("}")[0] for part in path.split("/") if part.startswith("{")}
                filled = path.format(
                    **{name: thing.get(name, "0" * 8 + "-0000-7000-8000-" + "0" * 12) for name in names}
                )
                status = asks.send(method.upper(), filled, BODIES.get(operation)).status_code
                expected = _may(need, role, scope, own=whose == "own" or not names & {"run_id", "sweep_id", "token_id"})
                if (status == 403) is expected or status in (401, 500):
                    wrong.append((operation, role, scope, whose, status))
    assert wrong == []


def _may(need: str, role: Role, scope: Scope, *, own: bool) -> bool:
    """The rule once more, as the README has it."""
    writes = role != "viewer" and scope != "read"
    governs = role == "admin" and scope == "admin"
    return {"open": True, "read": True, "write": writes, "own": writes and (own or governs), "admin": governs}[need]


def test_without_a_token_only_what_is_open_is_served(quick_api: Api) -> None:
    document = quick_api.get("/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, found in methods.items():
            answer = quick_api.http.request(method.upper(), path, headers={"Authorization": ""})
            assert (answer.status_code == 401) is (RULES.get(found["operationId"]) != "open"), (method, path)


def test_clones_and_submissions_are_the_owners_own(quick_api: Api, people: dict[tuple[Role, Scope], Person]) -> None:
    ada = people["member", "write"]
    run = ada.post("/v1/runs", RUN).json()
    assert run["owner"] == ada.name
    clone = people["member", "admin"].post(f"/v1/runs/{run['id']}:clone", {}).json()
    assert clone["owner"] == "member-admin"
