"""`prolu cancel`, `pause`, `resume`, `retry`, `clone`, `extend`, `priority`: deciding about work that is there."""

import json
from uuid import UUID, uuid4

import pytest
import yaml

from prolu.client import Client
from prolu.client.cli.app import BAD_INPUT, FAILED, NOT_YOURS, OK
from prolu.client.http import Http
from service.store import queue
from tests.client.conftest import Prolu
from tests.client.desk import RUN, SWEEP, Desk


def settle(desk: Desk) -> None:
    with desk.database.begin() as session:
        queue.settle(session)


def test_cancelling_a_sweep_is_one_request_and_cancels_what_has_not_ended(
    prolu: Prolu, client: Client, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = client.sweeps.submit(SWEEP)
    first, *others = desk.claim()
    desk.train(first)
    posted: list[str] = []
    send = Http._send

    def remembering(http: Http, method: str, path: str, **more: object) -> object:
        posted.extend([path] if method == "POST" else [])
        return send(http, method, path, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Http, "_send", remembering)
    status, _, err = prolu("cancel", "last")
    monkeypatch.undo()
    assert (status, posted) == (OK, [f"/v1/sweeps/{sweep.id}:cancel"])
    assert err == f"sweep {sweep.id}: 3 starting, 1 succeeded; what has not ended will be cancelled\n"
    wishes = {run.id: run.desired_state for run in client.sweeps.runs(sweep.id)}
    assert wishes == {first: "running", **dict.fromkeys(others, "cancelled")}


def test_what_has_ended_is_no_longer_cancelled(prolu: Prolu, client: Client, finished: UUID) -> None:
    good = client.sweeps.runs(finished)[1].id
    status, _, err = prolu("cancel", str(good))
    assert status == FAILED
    assert "already finished (succeeded)" in err
    status, _, err = prolu("cancel", str(finished))
    assert status == FAILED
    assert "1 failed, 3 succeeded" in err


def test_a_paused_run_rests_until_it_is_resumed(prolu: Prolu, client: Client, desk: Desk) -> None:
    run = client.runs.submit(RUN)
    assert prolu("pause", "last") == (OK, "", f"run {run.id} is queued, and will be paused\n")
    settle(desk)
    assert desk.claim() == []
    assert prolu("resume", "last") == (OK, "", f"run {run.id} is paused, and will be queued\n")
    settle(desk)
    assert desk.claim() == [run.id]
    status, _, err = prolu("resume", "last")
    assert status == FAILED
    assert f"Run {run.id} is starting" in err


def test_a_paused_sweep_rests_until_it_is_resumed(prolu: Prolu, client: Client, desk: Desk) -> None:
    sweep = client.sweeps.submit(SWEEP)
    assert "4 queued; what has not ended will be paused" in prolu("pause", str(sweep.id))[2]
    settle(desk)
    assert "4 paused; what is paused goes back into the queue" in prolu("resume", str(sweep.id))[2]
    settle(desk)
    assert len(desk.claim()) == 4


def test_a_failed_run_is_tried_again_from_its_last_checkpoint(prolu: Prolu, client: Client, desk: Desk) -> None:
    run = client.runs.submit(RUN)
    desk.claim()
    desk.report(run.id, desk.checkpoint(run.id, 50, final=False))
    desk.fail(run.id, failure_class="user_error")
    status, _, err = prolu("retry", "last")
    (successor,) = client.runs.list(state="queued")
    assert (status, err) == (OK, f"run {successor.id} takes the place of run {run.id}, from step 50\n")
    shown = prolu("show", str(successor.id))[1]
    assert f"retry of   {run.id}" in shown
    assert "superseded" in prolu("show", str(run.id))[1]
    status, _, err = prolu("retry", str(run.id))
    assert status == FAILED
    assert str(successor.id) in err


def test_a_retry_after_a_timeout_is_given_more_time(prolu: Prolu, client: Client, desk: Desk) -> None:
    run = client.runs.submit({**RUN, "limits": {"run_seconds": 60, "start_seconds": 5}})
    desk.claim()
    desk.fail(run.id, failure_class="timeout")
    for wrong in ("2 hours", "-3h", "0"):
        status, _, err = prolu("retry", str(run.id), f"--run-limit={wrong}")
        assert status == BAD_INPUT
        assert "limit" in err
    assert prolu("retry", str(run.id), "--run-limit", "2h", "--no-progress-limit", "90min")[0] == OK
    (successor,) = client.runs.list(state="queued")
    limits = client.runs.get(successor.id).spec.limits
    assert (limits.run_seconds, limits.start_seconds, limits.no_progress_seconds) == (7200, 5, 5400)


def test_all_failed_runs_of_a_sweep_are_tried_again(prolu: Prolu, client: Client, finished: UUID) -> None:
    status, _, err = prolu("retry", str(finished), "--from-scratch")
    assert (status, err) == (OK, f"sweep {finished}: 1 queued, 3 succeeded\n")
    assert [run.state for run in client.sweeps.runs(finished)] == ["queued", "succeeded", "succeeded", "succeeded"]


def test_a_clone_differs_in_what_is_set(prolu: Prolu, client: Client) -> None:
    run = client.runs.submit(RUN)
    arguments = ["--set", "sparsity.coefficient=0.5", "--set", "training.steps=7", "--name", "other", "--json"]
    status, out, _ = prolu("clone", "last", *arguments)
    made = json.loads(out)
    assert (status, made["name"], made["cloned_from"]) == (OK, "other", str(run.id))
    assert (made["spec"]["sparsity"]["coefficient"], made["spec"]["training"]["steps"]) == (0.5, 7)
    assert f"clone of   {run.id}" in prolu("show", made["id"])[1]
    assert (made["priority"], made["tier"], made["preemptible"]) == (50, "normal", False)
    status, out, _ = prolu("clone", "last", "--tier", "low", "--preemptible", "--priority", "7", "--json")
    made = json.loads(out)
    assert (status, made["priority"], made["tier"], made["preemptible"]) == (OK, 7, "low", True)
    for wrong in ("sparsity.coefficient", "=3", "training.steps=["):
        status, _, err = prolu("clone", str(run.id), "--set", wrong)
        assert status == BAD_INPUT
        assert "--set" in err
    status, _, err = prolu("clone", str(run.id), "--set", "training.steps=0")
    assert status == BAD_INPUT
    assert "training.steps must be at least 1" in err


def test_a_sweep_is_extended_by_a_longer_file(prolu: Prolu, client: Client) -> None:
    sweep = client.sweeps.submit(SWEEP)
    longer = {**SWEEP, "grid": {"sparsity.coefficient": [0.001, 0.002, 0.004]}}
    status, _, err = prolu("extend", str(sweep.id), "-", stdin=yaml.safe_dump(longer))
    assert (status, err) == (OK, f"sweep {sweep.id} has 6 runs: 6 queued\n")
    status, _, err = prolu("extend", str(sweep.id), "-", stdin=yaml.safe_dump(SWEEP))
    assert status == BAD_INPUT
    assert "lacks 2 of the sweep's points" in err


def test_the_place_in_the_queue_is_changed_for_a_run_or_a_sweep(prolu: Prolu, client: Client) -> None:
    run = client.runs.submit(RUN, tier="low", preemptible=True)
    assert "priority 50, tier low, preemptible" in prolu("show", "last")[1]
    status, _, err = prolu("priority", "last", "70", "--tier", "high", "--not-preemptible")
    assert (status, err) == (OK, f"run {run.id} has priority 70, tier high\n")
    sweep = client.sweeps.submit(SWEEP, priority=10)
    assert prolu("priority", str(sweep.id), "--preemptible", "--json")[0] == OK
    assert {(one.priority, one.preemptible) for one in client.sweeps.runs(sweep.id)} == {(10, True)}
    assert prolu("priority", "last")[0] == BAD_INPUT


def test_one_mistyped_id_leaves_the_others_alone(prolu: Prolu, client: Client) -> None:
    run = client.runs.submit(RUN)
    status, _, _ = prolu("cancel", str(run.id), str(uuid4()))
    assert status == NOT_YOURS
    assert client.runs.get(run.id).desired_state == "running"


def test_of_several_each_is_told_of_and_one_that_is_refused_does_not_hold_up_the_others(
    prolu: Prolu, client: Client, desk: Desk
) -> None:
    first, done, last = (client.runs.submit(RUN).id for _ in range(3))
    desk.claim()
    desk.train(done)
    status, out, err = prolu("pause", str(first), str(done), str(last))
    assert (status, out) == (FAILED, "")
    told = err.splitlines()
    assert told[0] == f"run {first} is starting, and will be paused"
    assert told[1].startswith(f"prolu: run {str(done)[-8:]}: Run {done} is already finished (succeeded)")
    assert told[2:] == [f"run {last} is starting, and will be paused"]
    for verb in ("resume", "cancel", "retry"):
        status, out, err = prolu(verb, str(done), str(first), "--json")
        assert (status, [run["id"] for run in json.loads(out)]) == (FAILED, [] if verb == "retry" else [str(first)])
        assert f"Run {done} is already finished" in err
