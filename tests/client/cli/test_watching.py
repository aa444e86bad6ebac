"""`prolu watch` and `prolu cancel`: following work, and ending it."""

import io
import json
from uuid import UUID

import pytest
from rich.console import Console

from prolu.client import Client
from prolu.client.cli.app import FAILED, OK
from prolu.client.cli.watching import Bars
from prolu.client.sweeps import Sweeps
from prolu.client.wire import RunSummary
from tests.client.conftest import Prolu
from tests.client.desk import SWEEP, Desk


def test_watching_what_succeeded_ends_well_and_what_failed_does_not(
    prolu: Prolu, client: Client, desk: Desk, finished: UUID
) -> None:
    status, out, err = prolu("watch", str(finished))
    assert status == FAILED
    assert "two by two" in out
    assert "90.0 %" in out
    assert "The loss became NaN at step 7." in err
    good = client.sweeps.runs(finished)[1].id
    status, out, err = prolu("watch", str(good))
    assert status == OK
    assert "fvu" in out
    assert f"run {good} succeeded after 100 of 100 steps" in err


def test_watching_as_json_tells_each_change_on_a_line(prolu: Prolu, client: Client, finished: UUID) -> None:
    good = client.sweeps.runs(finished)[1].id
    status, out, _ = prolu("watch", str(good), "--json")
    assert status == OK
    assert [json.loads(line)["state"] for line in out.splitlines()] == ["succeeded"]


def test_on_a_terminal_every_run_has_a_bar(client: Client, finished: UUID) -> None:
    bars = Bars()
    bars.show(client.sweeps.runs(finished))
    console = Console(file=io.StringIO(), width=160)
    console.print(bars.progress.get_renderable())
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 4
    assert sum("100 %" in line for line in lines) == 3
    assert "failed" in lines[0]


def test_cancelling_a_sweep_cancels_what_has_not_ended(prolu: Prolu, client: Client, desk: Desk) -> None:
    sweep = client.sweeps.submit(SWEEP)
    first, *others = desk.claim()
    desk.train(first)
    status, _, err = prolu("cancel", "last")
    assert status == OK
    assert len(err.splitlines()) == 4
    assert err.splitlines()[-1] == "3 runs cancelled"
    wishes = {run.id: run.desired_state for run in client.sweeps.runs(sweep.id)}
    assert wishes == {first: "running", **dict.fromkeys(others, "cancelled")}
    assert prolu("cancel", str(first))[0] == FAILED


def test_a_run_that_ends_while_its_sweep_is_cancelled_is_passed_over(
    prolu: Prolu, client: Client, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = client.sweeps.submit(SWEEP)
    first, *others = desk.claim()
    list_runs = Sweeps.runs

    def list_and_let_one_end(sweeps: Sweeps, identity: UUID) -> list[RunSummary]:
        listed = list_runs(sweeps, identity)
        desk.train(first)
        return listed

    monkeypatch.setattr(Sweeps, "runs", list_and_let_one_end)
    status, _, err = prolu("cancel", str(sweep.id))
    monkeypatch.undo()
    assert status == OK
    assert err.splitlines()[-1] == "3 runs cancelled; 1 had ended before"
    wishes = {run.id: run.desired_state for run in client.sweeps.runs(sweep.id)}
    assert wishes == {first: "running", **dict.fromkeys(others, "cancelled")}
