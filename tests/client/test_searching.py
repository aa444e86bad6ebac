"""Searches and reuse from Python and the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml

from prolu.client import Client
from prolu.client.cli.app import FAILED, OK
from tests.client.conftest import Prolu
from tests.client.desk import RUN, SWEEP, Desk

SEARCH: dict[str, Any] = {
    "name": "search",
    "base": SWEEP["base"],
    "search": {
        "kind": "random",
        "space": {"sparsity.coefficient": {"kind": "log_uniform", "low": 1e-4, "high": 1e-2}},
        "objectives": [{"metric": "l0", "goal": "minimize"}],
        "trials": 3,
    },
}


@pytest.fixture
def search_file(tmp_path: Path) -> str:
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(SEARCH))
    return "search.yaml"


def search_to_the_end(desk: Desk) -> None:
    """Ask for each point, train it, and tell of it, as the dispatcher does."""
    for _ in range(SEARCH["search"]["trials"]):
        desk.search()
        for claim in desk.claim():
            desk.train(claim)
    desk.search()


def test_a_search_is_waited_for_to_its_last_trial(client: Client, desk: Desk) -> None:
    sweep = client.sweeps.submit(SEARCH)
    looks: list[int] = []

    def look(runs: list[Any]) -> None:
        looks.append(len(runs))
        desk.search()
        for claim in desk.claim():
            desk.train(claim)

    ended = client.sweeps.wait(sweep.id, poll_seconds=0.001, on_update=look)
    assert ended.search is not None
    assert (ended.search.state, ended.search.asked, ended.states) == ("ended", 3, {"succeeded": 3})
    assert looks[0] == 0, "that no run goes on is not the end of a search"
    trials = client.sweeps.trials(sweep.id)
    assert [trial.number for trial in trials] == [0, 1, 2]
    assert any(trial.on_front for trial in trials)


def test_the_command_submits_a_search_and_shows_its_trials(prolu: Prolu, search_file: str, desk: Desk) -> None:
    status, out, err = prolu("preview", search_file)
    assert status == OK
    assert "sparsity.coefficient=" in out
    assert "3 runs, of which it asks for these 1 first; nothing was submitted" in err
    _, _, err = prolu("sweep", search_file)
    assert "searches with 3 trials" in err
    search_to_the_end(desk)
    status, out, err = prolu("trials")
    assert status == OK
    assert out.count("complete") == 3
    assert "3 of 3 trials, 0 open; the search is ended" in err
    assert "3 of 3 trials, 0 open; the search is ended" in prolu("show", "last")[1]
    _, out, _ = prolu("trials", "--front", "--json")
    assert all(trial["on_front"] for trial in json.loads(out))


def test_a_sweep_without_a_search_has_no_trials(prolu: Prolu, sweep_file: str) -> None:
    prolu("sweep", sweep_file)
    status, _, err = prolu("trials")
    assert status == FAILED
    assert "has no search" in err


def test_what_is_finished_elsewhere_is_told_and_reused_on_request(
    prolu: Prolu, sweep_file: str, client: Client, finished: UUID
) -> None:
    assert client.sweeps.preview(SWEEP).reusable == 3
    assert "4 runs, 3 finished elsewhere (--reuse)" in prolu("preview", sweep_file)[2]
    assert "3 of them are finished elsewhere; --reuse would not train those again" in prolu("sweep", sweep_file)[2]
    assert "with 4 runs, 3 of which refer to finished ones" in prolu("sweep", sweep_file, "--reuse")[2]
    assert prolu("results")[1].count("(reused)") == 3
    assert "3 of which refer to finished ones" in prolu("show", "last")[1]
    newest = client.sweeps.list()[0]
    assert (newest.reused, newest.states) == (3, {"queued": 1, "succeeded": 3})
    sources = {run.id for run in client.sweeps.runs(finished)}
    rows = client.sweeps.results(newest.id)
    assert {row.reused_from for row in rows if row.reused_from} <= sources


def test_a_single_run_is_reused_from_the_command_line(prolu: Prolu, run_file: str, client: Client, desk: Desk) -> None:
    first = client.runs.submit(RUN)
    (claim,) = desk.claim()
    desk.train(claim)
    status, _, err = prolu("submit", run_file, "--reuse")
    assert (status, f"refers to the finished run {first.id}" in err) == (OK, True)
    assert f"{first.id}, an identical finished run" in prolu("show", "last")[1]
    assert client.runs.submit(RUN, reuse=True).reused_from == first.id
    assert client.runs.submit(RUN).reused_from is None
