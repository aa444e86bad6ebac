"""`/v1/runs` on both databases."""

from __future__ import annotations

import threading
from typing import Any
from uuid import uuid4

from sqlalchemy import event, func, select

from prolu.client.wire import (
    AttemptRead,
    BiasSnapshotRead,
    CheckpointRead,
    DiagnosticsRead,
    EventRead,
    MetricRead,
    Page,
    RunRead,
)
from prolu.spec.report import Failed, Progress, Succeeded
from service.store import queue
from service.store.models import EventRow, IdempotencyRow, RunRow
from tests.fixtures_api import Api
from tests.service.api.work import RUN, submit, sweep_body, work_on
from tests.service.store.specs import checkpoint, diagnostics, full_snapshot, metric, run_spec, snapshot


def walk(api: Api, path: str, **params: Any) -> list[dict[str, Any]]:
    """Follow the cursor to the end of a list, and never see a page longer than asked for."""
    items: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = api.get(path, **params, **({"cursor": cursor} if cursor else {})).json()
        assert len(page["items"]) <= params.get("limit", 100)
        items += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return items


def test_a_submitted_run_comes_back_with_its_defaults_filled_in(api: Api) -> None:
    answer = api.post("/v1/runs", {**RUN, "priority": 70})
    assert answer.status_code == 201
    run = RunRead.model_validate(answer.json())
    assert (run.name, run.owner, run.state, run.desired_state, run.priority) == (
        "one",
        "admin",
        "queued",
        "running",
        70,
    )
    assert run.spec == run_spec(name="one")
    assert run.digest == run.spec.digest()
    assert (run.epoch, run.step, run.total_steps, run.progress, run.metrics) == (0, 0, 100, None, None)
    assert run.created_at.utcoffset() is not None
    assert api.get(f"/v1/runs/{run.id}").json() == answer.json()


def test_the_digest_is_the_same_on_both_databases_and_in_the_client(api: Api) -> None:
    spec = {**RUN["spec"], "sparsity": {"kind": "l1", "coefficient": 1e22}, "training": {"steps": 10, "seed": 2**62}}
    answer = api.post("/v1/runs", {"spec": spec}).json()
    shown = RunRead.model_validate(api.get(f"/v1/runs/{answer['id']}").json())
    assert shown.spec.digest() == shown.digest == RunRead.model_validate(answer).spec.digest()
    assert shown.spec.training.seed == 2**62


def test_runs_are_listed_newest_first_page_by_page(api: Api) -> None:
    ids = [submit(api, name=f"run {number}")["id"] for number in range(7)]
    assert [run["id"] for run in walk(api, "/v1/runs", limit=3)] == ids[::-1]
    assert all("spec" not in run for run in walk(api, "/v1/runs"))


def test_a_page_does_not_shift_when_runs_are_submitted_meanwhile(api: Api) -> None:
    ids = [submit(api)["id"] for _ in range(4)]
    first = api.get("/v1/runs", limit=2).json()
    submit(api)
    second = api.get("/v1/runs", limit=2, cursor=first["next_cursor"]).json()
    assert [run["id"] for run in first["items"] + second["items"]] == ids[::-1]
    assert second["next_cursor"] is None


def test_lists_are_filtered_by_state_owner_and_sweep(api: Api) -> None:
    mine, other = submit(api), submit(api)
    theirs = api.http.post("/v1/runs", json=RUN, headers={"Authorization": f"Bearer {api.token_of('bob')}"}).json()
    work_on(api, other["id"], metric(1))
    assert [run["id"] for run in walk(api, "/v1/runs", state="running")] == [other["id"]]
    assert [run["id"] for run in walk(api, "/v1/runs", state=["running", "queued"], owner="admin")] == [
        other["id"],
        mine["id"],
    ]
    assert [run["id"] for run in walk(api, "/v1/runs", owner="bob")] == [theirs["id"]]
    assert walk(api, "/v1/runs", sweep_id=str(uuid4())) == []


def test_an_unknown_run_is_not_found_at_every_address(api: Api) -> None:
    nowhere = uuid4()
    for suffix in ("", "/attempts", "/events", "/metrics", "/bias_statistics", "/diagnostics", "/checkpoints"):
        answer = api.get(f"/v1/runs/{nowhere}{suffix}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        assert str(nowhere) in answer.json()["detail"]
    assert api.post(f"/v1/runs/{nowhere}:cancel").status_code == 404


def test_a_live_run_shows_its_progress(api: Api) -> None:
    run_id = submit(api)["id"]
    work_on(api, run_id, Progress(phase="training", done=42, total=100))
    run = RunRead.model_validate(api.get(f"/v1/runs/{run_id}").json())
    assert (run.state, run.step, run.epoch) == ("running", 42, 1)
    assert run.progress is not None
    assert (run.progress.phase, run.progress.done, run.progress.total) == ("training", 42, 100)
    assert run.started_at is not None


def test_a_finished_run_shows_its_metrics_and_no_progress(api: Api) -> None:
    run_id = submit(api)["id"]
    work_on(api, run_id, Progress(phase="training", done=99, total=100), Succeeded(step=100, metrics={"l0": 7.25}))
    run = RunRead.model_validate(api.get(f"/v1/runs/{run_id}").json())
    assert (run.state, run.step, run.metrics, run.progress) == ("succeeded", 100, {"l0": 7.25}, None)


def test_attempts_say_what_happened_to_each_try(api: Api) -> None:
    run_id = submit(api)["id"]
    work_on(
        api, run_id, checkpoint(10), Failed(step=17, failure_class="nan_loss", message="NaN", traceback_tail="tail")
    )
    page = Page[AttemptRead].model_validate(api.get(f"/v1/runs/{run_id}/attempts").json())
    (attempt,) = page.items
    assert (attempt.epoch, attempt.outcome, attempt.node, attempt.last_step) == (1, "failed", "node-1", 17)
    assert (attempt.failure_class, attempt.message, attempt.traceback_tail) == ("nan_loss", "NaN", "tail")


def test_events_tell_the_story_of_a_run_page_by_page(api: Api) -> None:
    run_id = submit(api)["id"]
    work_on(api, run_id, metric(10), Succeeded(step=100, metrics={}))
    events = [EventRead.model_validate(event) for event in walk(api, f"/v1/runs/{run_id}/events", limit=1)]
    assert [event.kind for event in events] == ["submitted", "claimed", "running", "succeeded"]
    assert [event.epoch for event in events] == [None, 1, 1, 1]
    assert [event.id for event in events] == sorted(event.id for event in events)


def test_the_metric_series_is_ordered_by_step_and_can_be_split(api: Api) -> None:
    run_id = submit(api)["id"]
    held_out = metric(20).model_copy(update={"split": "held_out"})
    work_on(api, run_id, metric(30), metric(20), held_out, metric(100))
    points = [MetricRead.model_validate(point) for point in walk(api, f"/v1/runs/{run_id}/metrics", limit=1)]
    assert [(point.step, point.split) for point in points] == [
        (20, "held_out"),
        (20, "train"),
        (30, "train"),
        (100, "train"),
    ]
    only = walk(api, f"/v1/runs/{run_id}/metrics", limit=2, split="train")
    assert [point["step"] for point in only] == [20, 30, 100]
    assert only[0]["values"] == {"l0": 1.0}


def test_diagnostics_come_by_step_as_they_were_measured(api: Api) -> None:
    run_id = submit(api)["id"]
    work_on(api, run_id, diagnostics(100, 0.5), diagnostics(50))
    found = walk(api, f"/v1/runs/{run_id}/diagnostics", limit=1)
    assert [DiagnosticsRead.model_validate(one).step for one in found] == [50, 100]
    assert found[1]["gradient_alignment"] == diagnostics(100, 0.5).model_dump()["gradient_alignment"]
    assert found[1]["gradient_alignment"][0]["cosine"] == {"mean": 0.5, "standard_error": 0.01, "n": 16}


def test_all_that_a_snapshot_tells_is_served(api: Api) -> None:
    run_id = submit(api)["id"]
    work_on(api, run_id, snapshot(10), full_snapshot(20))
    first, second = walk(api, f"/v1/runs/{run_id}/bias_statistics")
    assert (first["statistics"]["change"], first["statistics"]["density"]) == (None, None)
    assert second["statistics"] == full_snapshot(20).statistics.model_dump()


def test_bias_statistics_come_in_either_order(api: Api) -> None:
    run_id = submit(api)["id"]
    work_on(api, run_id, snapshot(0), snapshot(50), snapshot(100))
    path = f"/v1/runs/{run_id}/bias_statistics"
    rising = [BiasSnapshotRead.model_validate(item) for item in walk(api, path, limit=2)]
    assert [item.step for item in rising] == [0, 50, 100]
    assert rising[0].statistics == snapshot(0).statistics
    assert [item["step"] for item in walk(api, path, limit=2, order="desc")] == [100, 50, 0]
    assert [item["step"] for item in api.get(path, limit=1, order="desc").json()["items"]] == [100]


def test_checkpoints_are_listed_with_their_files(api: Api) -> None:
    run_id = submit(api)["id"]
    work_on(api, run_id, checkpoint(10), checkpoint(20, final=True))
    found = [CheckpointRead.model_validate(item) for item in walk(api, f"/v1/runs/{run_id}/checkpoints", limit=1)]
    assert [(item.step, item.final, item.epoch, item.bytes) for item in found] == [(10, False, 1, 5), (20, True, 1, 5)]
    assert api.get(f"/v1/checkpoints/{found[0].id}").json() == found[0].model_dump(mode="json")
    assert api.get(f"/v1/checkpoints/{uuid4()}").status_code == 404


def test_cancelling_is_accepted_and_left_to_the_dispatcher(api: Api) -> None:
    run_id = submit(api)["id"]
    answer = api.post(f"/v1/runs/{run_id}:cancel")
    assert answer.status_code == 202
    assert (answer.json()["state"], answer.json()["desired_state"]) == ("queued", "cancelled")
    with api.database.begin() as session:
        queue.settle(session)
    assert api.get(f"/v1/runs/{run_id}").json()["state"] == "cancelled"
    assert api.post(f"/v1/runs/{run_id}:cancel").status_code == 202


def test_cancelling_a_finished_run_is_a_conflict_that_names_its_state(api: Api) -> None:
    run_id = submit(api)["id"]
    work_on(api, run_id, Succeeded(step=100, metrics={}))
    answer = api.post(f"/v1/runs/{run_id}:cancel")
    assert (answer.status_code, answer.json()["code"]) == (409, "illegal_transition")
    assert answer.json()["detail"] == f"Run {run_id} is already finished (succeeded); there is nothing left to cancel."


def test_only_its_owner_or_an_administrator_cancels_a_run(api: Api) -> None:
    run_id = submit(api)["id"]
    bob = {"Authorization": f"Bearer {api.token_of('bob')}"}
    answer = api.http.post(f"/v1/runs/{run_id}:cancel", headers=bob)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    bobs = api.http.post("/v1/runs", json=RUN, headers=bob).json()["id"]
    assert api.http.post(f"/v1/runs/{bobs}:cancel", headers=bob).status_code == 202
    assert api.post(f"/v1/runs/{bobs}:cancel").status_code == 202


def test_a_repeated_post_with_one_key_submits_once_and_answers_the_same(api: Api) -> None:
    first = api.post("/v1/runs", RUN, Idempotency_Key="k1")
    again = api.post("/v1/runs", RUN, Idempotency_Key="k1")
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    other = api.post("/v1/runs", RUN, Idempotency_Key="k2")
    assert other.json()["id"] != first.json()["id"]
    assert len(walk(api, "/v1/runs")) == 2


def test_the_kept_answer_is_that_of_the_first_time_even_if_the_run_went_on(api: Api) -> None:
    first = api.post("/v1/runs", RUN, Idempotency_Key="k1").json()
    work_on(api, first["id"], metric(1))
    assert api.post("/v1/runs", RUN, Idempotency_Key="k1").json() == first


def test_a_key_that_comes_with_another_body_is_refused(api: Api) -> None:
    api.post("/v1/runs", RUN, Idempotency_Key="k1")
    answer = api.post("/v1/runs", {**RUN, "priority": 1}, Idempotency_Key="k1")
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    sweep = {"spec": {"base": RUN["spec"]}}
    assert api.post("/v1/sweeps", sweep, Idempotency_Key="k1").json()["code"] == "idempotency_key_reused"
    assert len(walk(api, "/v1/runs")) == 1


def test_keys_of_different_users_do_not_meet(api: Api) -> None:
    bob = {"Authorization": f"Bearer {api.token_of('bob')}", "Idempotency-Key": "k1"}
    mine = api.post("/v1/runs", RUN, Idempotency_Key="k1").json()
    theirs = api.http.post("/v1/runs", json=RUN, headers=bob).json()
    assert theirs["id"] != mine["id"]


def test_a_key_of_a_refused_request_is_free_for_the_corrected_one(api: Api) -> None:
    wrong = {"spec": {**RUN["spec"], "resources": {"cpus": 0}}}
    assert api.post("/v1/runs", wrong, Idempotency_Key="k1").status_code == 422
    assert api.post("/v1/runs", RUN, Idempotency_Key="k1").status_code == 201


def test_the_same_post_at_the_same_moment_submits_once(api: Api) -> None:
    together = threading.Barrier(6)
    answers: list[str] = []

    def post() -> None:
        together.wait()
        answers.append(api.post("/v1/runs", RUN, Idempotency_Key="same").text)

    threads = [threading.Thread(target=post) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 6
    assert len({*answers}) == 1
    assert len(walk(api, "/v1/runs")) == 1


def test_a_refused_submission_leaves_nothing_behind(api: Api) -> None:
    missing = {"kind": "shards", "path": "not/there"}
    answer = api.post("/v1/runs", {"spec": {**RUN["spec"], "data": missing}}, Idempotency_Key="k1")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/spec/data/path"
    with api.database.read() as session:
        for table in (RunRow, EventRow, IdempotencyRow):
            assert session.scalar(select(func.count()).select_from(table)) == 0


def test_the_answer_to_a_submission_is_what_is_read_afterwards(api: Api) -> None:
    for key in (None, "k"):
        body = {**RUN, "priority": 70, "tier": "low", "preemptible": True}
        made = api.post("/v1/runs", body, **({"Idempotency_Key": key} if key else {})).json()
        assert made == api.get(f"/v1/runs/{made['id']}").json()


def test_a_token_is_asked_of_the_database_once_a_second_at_most(api: Api) -> None:
    asked: list[str] = []

    def remember(_: Any, __: Any, statement: str, *___: Any) -> None:
        if "FROM tokens" in statement:
            asked.append(statement)

    api.get("/v1/me")
    event.listen(api.database.engine, "before_cursor_execute", remember)
    for _ in range(3):
        assert api.get("/v1/me").status_code == 200
    assert len(asked) <= 1
    for _ in range(2):
        assert api.http.get("/v1/me", headers={"Authorization": f"Bearer prolu_{'n' * 43}"}).status_code == 401
    assert len(asked) >= 2, "who is unknown is asked for every time"
    event.remove(api.database.engine, "before_cursor_execute", remember)


def test_runs_and_sweeps_are_found_by_how_their_ids_begin_or_end(api: Api) -> None:
    sweep_id = api.post("/v1/sweeps", sweep_body(3)).json()["id"]
    run_id = walk(api, f"/v1/sweeps/{sweep_id}/runs")[1]["id"]
    for path, identity in (("/v1/runs", run_id), ("/v1/sweeps", sweep_id)):
        digits = identity.replace("-", "")
        for part in (digits, digits[-8:], digits[:31]):
            assert identity in [one["id"] for one in walk(api, path, id=part)]
        assert walk(api, path, id=digits[-8:-1] + ("0" if digits[-1] != "0" else "1")) == []
        assert api.get(path, id="%").status_code == 422
    assert [one["id"] for one in walk(api, "/v1/runs", id=run_id[-8:], filter="point >= 0")] == [run_id]
