"""The verbs of `/v1/runs/{id}` and its PATCH, on both databases."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from prolu.spec.report import Failed, Stopped, Succeeded
from service.store import queue, reports
from tests.fixtures_api import Api
from tests.service.api.test_runs import walk
from tests.service.api.work import RUN, submit, work_on
from tests.service.store.specs import checkpoint, metric

VERBS = ["cancel", "pause", "resume", "retry", "clone"]


def settle(api: Api) -> None:
    with api.database.begin() as session:
        queue.settle(session)


def failed(api: Api) -> str:
    run_id: str = submit(api)["id"]
    work_on(api, run_id, checkpoint(10), Failed(step=17, failure_class="user_error", message="no"))
    return run_id


def bob(api: Api) -> dict[str, str]:
    return {"Authorization": f"Bearer {api.token_of('bob')}"}


def test_a_pause_and_a_resume_are_accepted_and_left_to_the_dispatcher(api: Api) -> None:
    run_id = submit(api)["id"]
    seen = []
    for verb in ("pause", "pause", "resume", "pause"):
        answer = api.post(f"/v1/runs/{run_id}:{verb}")
        seen.append((answer.status_code, answer.json()["state"], answer.json()["desired_state"]))
    assert seen == [(202, "queued", wish) for wish in ("paused", "paused", "running", "paused")]
    settle(api)
    assert api.get(f"/v1/runs/{run_id}").json()["state"] == "paused"
    again = api.post(f"/v1/runs/{run_id}:resume").json()
    assert (again["state"], again["desired_state"]) == ("paused", "running")


def test_an_illegal_verb_is_a_conflict_that_names_the_state(api: Api) -> None:
    run_id = submit(api)["id"]
    for verb in ("resume", "retry"):
        answer = api.post(f"/v1/runs/{run_id}:{verb}")
        assert (answer.status_code, answer.json()["code"]) == (409, "illegal_transition")
        assert f"Run {run_id} is queued" in answer.json()["detail"]
    work_on(api, run_id, Succeeded(step=100, metrics={}))
    for verb in ("cancel", "pause", "resume", "retry"):
        answer = api.post(f"/v1/runs/{run_id}:{verb}")
        assert (answer.status_code, answer.json()["code"]) == (409, "illegal_transition")
        assert "already finished (succeeded)" in answer.json()["detail"]


def test_verbs_are_for_the_owner_and_administrators_but_anybody_may_clone(api: Api) -> None:
    run_id = submit(api)["id"]
    for verb in ("cancel", "pause", "resume", "retry"):
        answer = api.http.post(f"/v1/runs/{run_id}:{verb}", headers=bob(api))
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert api.http.patch(f"/v1/runs/{run_id}", json={"priority": 1}, headers=bob(api)).status_code == 403
    clone = api.http.post(f"/v1/runs/{run_id}:clone", headers=bob(api))
    assert (clone.status_code, clone.json()["owner"], clone.json()["cloned_from"]) == (202, "bob", run_id)
    assert api.post(f"/v1/runs/{clone.json()['id']}:pause").status_code == 202
    assert [api.post(f"/v1/runs/{uuid4()}:{verb}").status_code for verb in VERBS] == [404] * len(VERBS)


def test_a_retry_answers_with_the_run_that_takes_the_place(api: Api) -> None:
    old = failed(api)
    answer = api.post(f"/v1/runs/{old}:retry", Idempotency_Key="r1")
    new = answer.json()
    assert (answer.status_code, new["state"], new["retry_of"], new["step"]) == (202, "queued", old, 10)
    assert api.get(f"/v1/runs/{old}").json()["superseded"] is True
    assert api.post(f"/v1/runs/{old}:retry", Idempotency_Key="r1").json() == new
    second = api.post(f"/v1/runs/{old}:retry")
    assert second.status_code == 409
    assert new["id"] in second.json()["detail"]
    assert [run["id"] for run in walk(api, "/v1/runs")] == [new["id"], old]


@pytest.mark.parametrize("verb", ["cancel", "pause", "resume"])
def test_a_repeated_wish_with_one_key_gets_the_answer_of_the_first_time(api: Api, verb: str) -> None:
    run_id = submit(api)["id"]
    if verb == "resume":
        api.post(f"/v1/runs/{run_id}:pause")
    first = api.post(f"/v1/runs/{run_id}:{verb}", Idempotency_Key="k")
    work_on(api, submit(api)["id"])
    api.post(f"/v1/runs/{run_id}:{'pause' if verb == 'resume' else 'cancel'}")
    settle(api)
    again = api.post(f"/v1/runs/{run_id}:{verb}", Idempotency_Key="k")
    assert (first.status_code, again.status_code, again.json()) == (202, 202, first.json())
    now = api.get(f"/v1/runs/{run_id}").json()
    assert now["state"] == ("paused" if verb == "resume" else "cancelled"), "the repetition did nothing"
    assert api.post(f"/v1/runs/{run_id}:retry", Idempotency_Key="k").json()["code"] == "idempotency_key_reused"


def test_a_resume_that_arrives_twice_after_the_run_went_on_is_no_conflict(api: Api) -> None:
    run_id = submit(api)["id"]
    api.post(f"/v1/runs/{run_id}:pause")
    first = api.post(f"/v1/runs/{run_id}:resume", Idempotency_Key="k")
    work_on(api, run_id)
    assert api.post(f"/v1/runs/{run_id}:resume").status_code == 409
    assert api.post(f"/v1/runs/{run_id}:resume", Idempotency_Key="k").json() == first.json()


def test_a_key_of_a_refused_wish_is_free_and_somebody_elses_gets_nothing(api: Api) -> None:
    run_id = submit(api)["id"]
    assert api.post(f"/v1/runs/{run_id}:resume", Idempotency_Key="k").status_code == 409
    assert api.post(f"/v1/runs/{run_id}:pause", Idempotency_Key="k").status_code == 202
    assert api.http.post(f"/v1/runs/{run_id}:pause", headers={**bob(api), "Idempotency-Key": "k"}).status_code == 403


def test_a_retry_after_a_timeout_may_be_given_more_time(api: Api) -> None:
    old = submit(api, limits={"run_seconds": 60, "start_seconds": 5})
    work_on(api, old["id"], checkpoint(10), Failed(step=17, failure_class="timeout", message="too long"))
    wrong = api.post(f"/v1/runs/{old['id']}:retry", {"limits": {"run_seconds": 0}})
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "/limits/run_seconds")
    new = api.post(f"/v1/runs/{old['id']}:retry", {"limits": {"run_seconds": 7200}}).json()
    assert new["spec"]["limits"] == {"run_seconds": 7200, "start_seconds": 5, "no_progress_seconds": None}
    assert (new["step"], new["digest"], new["retry_of"]) == (10, old["digest"], old["id"])
    events = api.get(f"/v1/runs/{new['id']}/events").json()["items"]
    assert events[0]["detail"] == {"retry_of": old["id"], "from_step": 10, "limits": {"run_seconds": 7200}}
    assert api.get(f"/v1/runs/{old['id']}").json()["spec"]["limits"]["run_seconds"] == 60


def test_a_retry_from_scratch_begins_at_step_0(api: Api) -> None:
    assert api.post(f"/v1/runs/{failed(api)}:retry", {"from_scratch": True}).json()["step"] == 0
    assert api.post(f"/v1/runs/{failed(api)}:retry", {"from_scrach": True}).status_code == 422


def test_a_clone_is_checked_as_a_submission_is(api: Api) -> None:
    run_id = submit(api)["id"]
    body = {"set": {"sparsity.coefficient": 0.5, "training.steps": 7}, "name": "two", "priority": 9, "tier": "low"}
    answer = api.post(f"/v1/runs/{run_id}:clone", body, Idempotency_Key="c1")
    clone = answer.json()
    assert (answer.status_code, clone["name"], clone["priority"], clone["tier"]) == (202, "two", 9, "low")
    assert (clone["spec"]["sparsity"]["coefficient"], clone["total_steps"], clone["cloned_from"]) == (0.5, 7, run_id)
    assert api.post(f"/v1/runs/{run_id}:clone", body, Idempotency_Key="c1").json() == clone
    refused: list[tuple[dict[str, Any], str]] = [
        ({"sparsity.coefficient": -1.0}, "/set/sparsity.coefficient"),
        ({"data": {"kind": "shards", "path": "not/there"}}, "/set/data/path"),
        ({"sae.d_sae": 2**30, "data.d_in": 2**12}, "/set/sae.d_sae"),
        ({"name": "two"}, "/set/name"),
    ]
    for changes, pointer in refused:
        answer = api.post(f"/v1/runs/{run_id}:clone", {"set": changes})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)
    assert len(walk(api, "/v1/runs")) == 2


def test_a_clone_of_a_point_does_not_join_the_sweep(api: Api) -> None:
    sweep = api.post("/v1/sweeps", {"spec": {"base": RUN["spec"]}, "priority": 7}).json()
    (point,) = walk(api, f"/v1/sweeps/{sweep['id']}/runs")
    clone = api.post(f"/v1/runs/{point['id']}:clone").json()
    assert (clone["sweep_id"], clone["point"], clone["priority"]) == (None, None, 7)
    assert clone["digest"] == point["digest"]


def test_the_place_in_the_queue_is_changed_by_what_the_body_names(api: Api) -> None:
    run_id = submit(api)["id"]
    answer = api.http.patch(f"/v1/runs/{run_id}", json={"priority": 70, "preemptible": True})
    run = answer.json()
    assert (answer.status_code, run["priority"], run["tier"], run["preemptible"]) == (200, 70, "normal", True)
    run = api.http.patch(f"/v1/runs/{run_id}", json={"tier": "high"}).json()
    assert (run["priority"], run["tier"]) == (70, "high")
    for wrong in ({}, {"priority": 101}, {"priorty": 1}, {"tier": "urgent"}):
        assert api.http.patch(f"/v1/runs/{run_id}", json=wrong).status_code == 422
    work_on(api, run_id, Succeeded(step=100, metrics={}))
    assert api.http.patch(f"/v1/runs/{run_id}", json={"priority": 1}).status_code == 409


def test_the_high_tier_is_for_administrators(api: Api) -> None:
    refused = api.http.post("/v1/runs", json={**RUN, "tier": "high"}, headers=bob(api))
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    sweep = {"spec": {"base": RUN["spec"]}, "tier": "high"}
    assert api.http.post("/v1/sweeps", json=sweep, headers=bob(api)).status_code == 403
    mine = api.http.post("/v1/runs", json={**RUN, "tier": "low", "preemptible": True}, headers=bob(api)).json()
    assert (mine["tier"], mine["preemptible"], mine["ranks"]) == ("low", True, 1)
    assert api.http.patch(f"/v1/runs/{mine['id']}", json={"tier": "high"}, headers=bob(api)).status_code == 403
    high = api.post("/v1/runs", {**RUN, "tier": "high"}).json()
    assert high["tier"] == "high"
    assert api.http.post(f"/v1/runs/{high['id']}:clone", headers=bob(api)).json()["tier"] == "normal"
    assert api.http.post(f"/v1/runs/{high['id']}:clone", json={"tier": "high"}, headers=bob(api)).status_code == 403
    assert api.post(f"/v1/runs/{high['id']}:clone").json()["tier"] == "high"


def test_a_change_is_refused_if_somebody_decided_otherwise_meanwhile(api: Api) -> None:
    run_id = submit(api)["id"]
    seen = api.get(f"/v1/runs/{run_id}").headers["ETag"]
    changed = api.http.patch(f"/v1/runs/{run_id}", json={"priority": 60}, headers={"If-Match": f'"other", {seen}'})
    assert changed.status_code == 200
    assert changed.headers["ETag"] == api.get(f"/v1/runs/{run_id}").headers["ETag"] != seen
    late = api.http.patch(f"/v1/runs/{run_id}", json={"priority": 1}, headers={"If-Match": seen})
    assert (late.status_code, late.json()["code"]) == (412, "precondition_failed")
    assert api.http.patch(f"/v1/runs/{run_id}", json={"priority": 2}, headers={"If-Match": "*"}).status_code == 200
    now = api.get(f"/v1/runs/{run_id}").headers["ETag"]
    api.post(f"/v1/runs/{run_id}:pause")
    late = api.http.patch(f"/v1/runs/{run_id}", json={"priority": 1}, headers={"If-Match": now})
    assert late.status_code == 412


def test_progress_does_not_change_the_tag(api: Api) -> None:
    run_id = submit(api)["id"]
    work_on(api, run_id, metric(1))
    seen = api.get(f"/v1/runs/{run_id}").headers["ETag"]
    with api.database.begin() as session:
        reports.apply(session, UUID(run_id), 1, [(2, metric(50))], lease_seconds=60, node=None)
    assert api.get(f"/v1/runs/{run_id}").headers["ETag"] == seen


def test_an_attempt_tells_why_it_was_asked_to_end(api: Api) -> None:
    run_id = submit(api)["id"]
    work_on(api, run_id, metric(1), Stopped(step=2, reason="preempt"))
    (attempt,) = api.get(f"/v1/runs/{run_id}/attempts").json()["items"]
    assert {"nodes", "exit_cause", "stop_reason"} <= attempt.keys()


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_needs_a_token(quick_api: Api, verb: str) -> None:
    answer = quick_api.http.post(f"/v1/runs/{uuid4()}:{verb}", headers={"Authorization": ""})
    assert answer.status_code == 401
