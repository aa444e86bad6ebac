"""What the API says of the queue: the order with reasons, the shares, why one run waits, and nodes that drain."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import update

from prolu.client.wire import ExplainRead, NodeRead, QueueRead, SharesRead
from prolu.spec.report import Failed, Progress
from service.store import wishes
from service.store.models import AttemptRow, DispatcherRow, RunRow, UserRow
from service.store.users import ensure_user
from tests.fixtures_api import Api, running_api
from tests.service.api.work import RUN, submit, sweep_body, work_on
from tests.service.store.operations import claim, lose, see, settle
from tests.service.store.operations import submit as submit_to_store
from tests.service.store.specs import metric

SMALL = NodeRead(name="10.0.0.1/abcd", cpus=1, gpus=0, memory_gb=16)


def seen(api: Api, *nodes: NodeRead) -> None:
    with api.database.begin() as session:
        see(session, *nodes)


def explain(api: Api, run_id: str | UUID) -> ExplainRead:
    return ExplainRead.model_validate(api.get(f"/v1/runs/{run_id}/explain").json())


def test_explain_says_why_a_run_waits_and_what_is_ahead_of_it(api: Api) -> None:
    seen(api, SMALL)
    works, first, second = (submit(api)["id"] for _ in range(3))
    work_on(api, works, metric(1), node=SMALL.name)
    found = explain(api, second)
    assert (found.state, found.cause, found.position, found.ahead_count) == ("queued", "behind", 2, 1)
    assert found.reason == "Waits behind the run in place 1, which asks for the same."
    assert [str(one.run_id) for one in found.ahead] == [first]
    assert found.score is not None
    assert found.score.total == pytest.approx(found.score.priority + found.score.fair + found.score.age)
    assert found.share is not None
    assert (found.share.live_runs, found.share.waiting_runs, found.share.target_share) == (1, 2, 1.0)
    nearest = explain(api, first)
    assert nearest.cause == "room"
    assert nearest.reason == ("Waits until 1 CPU and 2 GiB are free on one node; room is held for it on 10.0.0.1/abcd.")


def test_explain_names_what_holds_a_run_back(api: Api) -> None:
    run_id = submit(api)["id"]
    assert explain(api, run_id).cause == "no_nodes"
    seen(api, SMALL.model_copy(update={"memory_gb": 0.5}))
    assert explain(api, run_id).reason == "No node is large enough for 1 CPU and 2 GiB."


def test_explain_says_what_a_run_does_that_does_not_wait(api: Api) -> None:
    seen(api, SMALL)
    database, run_id = api.database, UUID(submit(api)["id"])
    claim(database, run_id)
    assert explain(api, run_id).reason == "Attempt 1 is starting on a node, at step 0 of 100."
    lose(database, run_id, 1, "storage", "node-1")
    assert explain(api, run_id).reason.startswith("It is tried again at 20")
    with database.begin() as session:
        wishes.request_pause(session, run_id)
    settle(database)
    assert explain(api, run_id).reason == "It is paused; resume it, and it goes back into the queue."
    with database.begin() as session:
        wishes.request_cancel(session, run_id)
    settle(database)
    assert explain(api, run_id).reason == "It has ended (cancelled)"


def test_explain_of_a_failed_run_says_why_it_failed(api: Api) -> None:
    run_id = submit(api)["id"]
    work_on(api, run_id, Failed(step=3, failure_class="user_error", message="No such file."))
    assert "No such file." in explain(api, run_id).reason


def test_explain_of_a_run_that_there_is_not_is_404(api: Api) -> None:
    assert api.get(f"/v1/runs/{uuid4()}/explain").status_code == 404


def test_the_queue_estimates_starts_by_the_progress_of_what_runs(api: Api) -> None:
    seen(api, SMALL)
    works, waits = submit(api)["id"], submit(api)["id"]
    work_on(api, works, Progress(phase="training", done=4, total=100), node=SMALL.name)
    now = datetime.now(UTC)
    with api.database.begin() as session:
        session.execute(update(AttemptRow).values(started_at=now - timedelta(seconds=40), news_at=now))
        session.execute(update(RunRow).where(RunRow.id == UUID(works)).values(step=4))
    shown = QueueRead.model_validate(api.get("/v1/queue").json())
    (entry,) = shown.waiting
    assert str(entry.run.id) == waits
    assert entry.estimated_start is not None
    assert (entry.estimated_start - now).total_seconds() == pytest.approx(960, abs=20), "96 steps of 10 s"
    assert (entry.cause, entry.position) == ("room", 1)


def test_a_plan_that_has_been_shown_is_not_shown_again_once_something_has_happened(api: Api) -> None:
    seen(api, SMALL)
    for count in (1, 2, 3):
        submit(api)
        assert QueueRead.model_validate(api.get("/v1/queue").json()).waiting_count == count


def test_the_shares_are_of_those_who_have_runs(api: Api) -> None:
    with api.database.begin() as session:
        bob, idle = ensure_user(session, "bob"), ensure_user(session, "idle")
        session.execute(update(UserRow).where(UserRow.id == bob).values(weight=3.0))
    assert idle
    run_id = UUID(submit(api)["id"])
    submit_to_store(api.database, bob)
    claim(api.database, run_id)
    found = SharesRead.model_validate(api.get("/v1/queue/shares").json())
    mine, other = found.shares
    assert (mine.user, other.user, found.half_life_days) == ("admin", "bob", 7)
    assert (mine.target_share, other.target_share) == (0.25, 0.75)
    assert (mine.usage_share, other.usage_share) == (1.0, 0.0)
    assert (mine.fair, other.fair) == (2**-4, 1.0)
    assert (mine.live_runs, mine.waiting_runs, other.live_runs, other.waiting_runs) == (1, 0, 0, 1)


def test_a_node_drains_and_comes_back(api: Api) -> None:
    seen(api, SMALL)
    run_id = submit(api)["id"]
    answer = api.post("/v1/nodes:drain", {"node": SMALL.name, "evict": True, "reason": "new disks"})
    assert (answer.status_code, answer.json()["draining"]) == (200, True)
    assert [node["draining"] for node in api.get("/v1/nodes").json()["items"]] == [True]
    (shown,) = api.get("/v1/nodes").json()["items"]
    assert (shown["evicting"], shown["drain_reason"]) == (True, "new disks")
    assert explain(api, run_id).reason == "Only nodes that are draining could hold 1 CPU and 2 GiB."
    assert api.post("/v1/nodes:undrain", {"node": SMALL.name}).json()["items"][0]["draining"] is False
    assert api.post("/v1/nodes:drain", {"node": SMALL.name, "reason": "x\x00"}).status_code == 422
    assert api.post("/v1/nodes:drain", {"node": "nowhere"}).status_code == 404


def test_only_administrators_drain(api: Api) -> None:
    seen(api, SMALL)
    member = f"Bearer {api.token_of('eve')}"
    for verb in ("drain", "undrain"):
        assert api.post(f"/v1/nodes:{verb}", {"node": SMALL.name}, Authorization=member).status_code == 403


def test_a_user_with_as_many_waiting_runs_as_may_be_submits_no_more(database_url: str, tmp_path: Path) -> None:
    with running_api(tmp_path, database_url=database_url, max_queued_per_user=3) as api:
        first = submit(api)["id"]
        answer = api.post("/v1/sweeps", sweep_body(3))
        assert (answer.status_code, answer.json()["code"]) == (409, "queue_full")
        assert answer.json()["detail"].startswith(
            "admin has 1 of their runs waiting, this would add 3, and 3 may wait for one user; wait for some to start"
        )
        assert api.post("/v1/sweeps", sweep_body(2)).status_code == 201
        assert api.post("/v1/runs", RUN).status_code == 409
        assert api.post(f"/v1/runs/{first}:clone", {}).status_code == 409
        sweep = api.get("/v1/sweeps").json()["items"][0]["id"]
        assert api.post(f"/v1/sweeps/{sweep}:extend", {"spec": sweep_body(4)["spec"]}).status_code == 409
        other = f"Bearer {api.token_of('eve')}"
        assert api.post("/v1/runs", RUN, Authorization=other).status_code == 201, "each user has a limit of their own"


def test_a_user_brings_back_no_more_runs_than_may_wait(database_url: str, tmp_path: Path) -> None:
    with running_api(tmp_path, database_url=database_url, max_queued_per_user=3) as api:
        sweep = api.post("/v1/sweeps", sweep_body(3)).json()["id"]
        first, second, third = [run["id"] for run in api.get(f"/v1/sweeps/{sweep}/runs").json()["items"]]
        for run_id in (first, second):
            work_on(api, run_id, Failed(step=1, failure_class="user_error", message="no"))
        api.post(f"/v1/runs/{third}:pause")
        others = [submit(api, name=f"other {index}")["id"] for index in range(3)]
        for verb, adding in {
            f"runs/{first}:retry": 1,
            f"runs/{third}:resume": 1,
            f"sweeps/{sweep}:retry_failed": 2,
            f"sweeps/{sweep}:resume": 1,
        }.items():
            answer = api.post(f"/v1/{verb}")
            assert (answer.status_code, answer.json()["code"]) == (409, "queue_full")
            said = f"admin has 3 of their runs waiting, this would add {adding}, and 3 may wait for one user; wait for some"
            assert answer.json()["detail"].startswith(said)
        assert [api.get(f"/v1/runs/{one}").json()["superseded"] for one in (first, second)] == [False, False]
        api.post(f"/v1/runs/{others[0]}:cancel")
        assert api.post(f"/v1/sweeps/{sweep}:retry_failed").status_code == 409, "two do not fit, so none is tried again"
        api.post(f"/v1/runs/{others[1]}:cancel")
        assert api.post(f"/v1/sweeps/{sweep}:retry_failed").json()["states"] == {"queued": 3}
        assert api.post(f"/v1/sweeps/{sweep}:resume").status_code == 409
        work_on(api, others[2])
        assert api.post(f"/v1/sweeps/{sweep}:resume").status_code == 202
        api.post(f"/v1/runs/{others[2]}:pause")
        assert api.post(f"/v1/runs/{others[2]}:resume").status_code == 202, "what trains waits for nothing"


def test_a_node_that_has_gone_can_be_undrained_before_it_is_back(api: Api) -> None:
    seen(api, SMALL)
    api.post("/v1/nodes:drain", {"node": SMALL.name})
    seen(api)
    assert api.post("/v1/nodes:undrain", {"node": SMALL.name}).json()["items"] == []
    seen(api, SMALL)
    assert api.get("/v1/nodes").json()["items"][0]["draining"] is False


def test_without_a_dispatcher_nothing_is_said_to_start(api: Api) -> None:
    seen(api, SMALL)
    run_id = submit(api)["id"]
    with api.database.begin() as session:
        session.execute(update(DispatcherRow).values(seen_at=datetime.now(UTC) - timedelta(hours=3)))
    found = explain(api, run_id)
    assert found.reason.startswith("No dispatcher has been heard of since 20")
    assert found.estimated_start is None


def test_members_extend_a_sweep_of_the_highest_tier_by_ordinary_runs(api: Api) -> None:
    member = f"Bearer {api.token_of('bob')}"
    sweep = api.post("/v1/sweeps", sweep_body(2), Authorization=member).json()["id"]
    assert api.http.patch(f"/v1/sweeps/{sweep}", json={"tier": "high"}).status_code == 200
    answer = api.post(f"/v1/sweeps/{sweep}:extend", {"spec": sweep_body(3)["spec"]}, Authorization=member)
    assert answer.status_code == 202, answer.text
    tiers = [run["tier"] for run in api.get(f"/v1/sweeps/{sweep}/runs").json()["items"]]
    assert tiers == ["high", "high", "normal"]


def test_a_run_that_one_user_may_never_hold_is_refused(database_url: str, tmp_path: Path) -> None:
    with running_api(tmp_path, database_url=database_url, max_gpus_per_user=1) as api:
        asks = {"gpus": 1.0, "ranks": 2}
        answer = api.post("/v1/runs", {"spec": {**RUN["spec"], "resources": asks}})
        assert answer.status_code == 422
        assert "resources asks for 2 GPUs, and one user may hold 1 at once" in answer.text
        assert api.post("/v1/runs", {"spec": {**RUN["spec"], "resources": {"gpus": 1.0}}}).status_code == 201
