"""Waiting asks for little, and says why it ended badly or why it takes for ever."""

import json
from uuid import UUID

import pytest

from prolu.client import Client
from prolu.client.cli.app import BAD_INPUT, FAILED
from prolu.client.cli.watching import _Resting
from prolu.client.runs import Runs
from prolu.client.sweeps import Sweeps
from prolu.client.wire import RunState
from tests.client.conftest import Prolu
from tests.client.desk import SWEEP


def test_waiting_for_a_sweep_asks_for_its_counts_alone(
    client: Client, finished: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[UUID] = []
    monkeypatch.setattr(Sweeps, "runs", lambda _self, sweep: asked.append(sweep) or [])
    assert client.sweeps.wait(finished).states["failed"] == 1
    assert not asked
    client.sweeps.wait(finished, on_update=lambda _runs: None)
    assert asked == [finished]


def test_the_command_says_why_what_it_waited_for_did_not_succeed(prolu: Prolu, finished: UUID, client: Client) -> None:
    failed = next(run for run in client.sweeps.runs(finished) if run.state == "failed")
    for reference in (str(finished), str(failed.id)):
        status, _, said = prolu("wait", reference)
        assert status == FAILED
        assert "failed (nan_loss): Attempt 1 ended (nan_loss): The loss became NaN at step 7." in said


def test_waiting_for_what_is_paused_says_so_once_and_how_it_goes_on(
    prolu: Prolu, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = client.sweeps.submit(SWEEP)
    paused = sweep.model_copy(update={"states": {"paused": 3, "succeeded": 1}})
    monkeypatch.setattr(Sweeps, "get", lambda _self, _sweep: paused)
    _, _, said = prolu("wait", str(sweep.id), "--timeout", "0")
    assert f"is paused; resume it with: prolu resume {str(sweep.id)[-8:]}" in said
    resting = _Resting("sweep 12345678")
    looks: list[dict[RunState, int]] = [{"paused": 3}, {"paused": 3}, {"paused": 2, "running": 1}]
    for states in looks:
        resting.tell(states)
    assert prolu("version")[2].count("is paused") == 1


def test_submitting_and_waiting_as_json_prints_what_came_of_it(
    prolu: Prolu, run_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Runs, "wait", lambda self, run, **_: self.get(run).model_copy(update={"state": "cancelled"}))
    status, printed, said = prolu("submit", run_file, "--wait", "--json")
    assert status == FAILED
    assert json.loads(printed)["state"] == "cancelled"
    assert "is queued" in said


def test_no_option_is_passed_over_in_silence(prolu: Prolu, client: Client, finished: UUID) -> None:
    assert prolu("ls", "--sweeps", "--state", "failed")[0] == BAD_INPUT
    assert prolu("ls", "--sweeps", "--sweep", "last")[0] == BAD_INPUT
    assert prolu("user", "add", "weightless", "--weight", "0")[0] == BAD_INPUT
    client.sweeps.submit({**SWEEP, "name": "newer"})
    assert len(prolu("results", "--csv")[1].splitlines()) == 1 + 4
    assert len(prolu("results", "--csv", "--filter", "")[1].splitlines()) == 1 + 8
