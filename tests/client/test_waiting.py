"""Waiting with bars: what they tell, where they are shown, and what an interrupt leaves running."""

from __future__ import annotations

import io
import sys
import types
from collections.abc import Iterator
from contextlib import redirect_stderr
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from rich.console import Console

from prolu.client import Client
from prolu.client.cli import connecting
from prolu.client.cli.app import FAILED, INTERRUPTED, OK
from prolu.client.display import Notebook
from prolu.client.progress import MOST_BARS, Bars
from prolu.spec.report import MetricPoint, Progress
from tests.client.conftest import Prolu
from tests.client.desk import RUN, SWEEP, Desk


def point(step: int, l0: float) -> MetricPoint:
    return MetricPoint(split="train", step=step, tokens=step, values={"l0": l0, "fvu": 0.125})


def lines_of(bars: Bars) -> list[str]:
    console = Console(file=io.StringIO(), width=160)
    console.print(bars.progress.get_renderable())
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


class Terminal(io.StringIO):
    """Standard error as a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """What standard error is to be redirected to in the test itself, since pytest sets it anew before each."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    return Terminal()


@pytest.fixture
def impatient(service: Any) -> Iterator[Client]:
    """A client whose every pause is an interrupt by the keyboard."""

    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    with Client(service.url, service.token, sleep=interrupt) as client:
        yield client


def test_a_sweep_has_a_bar_of_the_whole_and_one_for_each_run_that_is_worked_on(client: Client, desk: Desk) -> None:
    sweep = client.sweeps.submit(SWEEP)
    first, second, third, _ = desk.claim()
    desk.train(first)
    desk.fail(second)
    desk.report(third, Progress(phase="training", done=25, total=100))
    bars = Bars()
    bars.show(client.sweeps.runs(sweep.id), {third: {"l0": 41.26, "fvu": 0.1234567}})
    whole, *others = lines_of(bars)
    for told in ("4 runs", "1 succeeded", "1 running", "1 failed", "1 starting", "56 %"):
        assert told in whole
    assert len(others) == 2
    (training,) = [line for line in others if "running" in line]
    for told in ("training 25 of 100 steps", "25 %", "L0 41.26", "FVU 0.1235"):
        assert told in training


def test_a_bar_goes_when_its_run_ends_and_no_more_are_shown_than_can_be_read(client: Client, desk: Desk) -> None:
    grid = {"sparsity.coefficient": [0.001 * number for number in range(1, MOST_BARS + 3)]}
    sweep = client.sweeps.submit({"name": "many", "base": SWEEP["base"], "grid": grid})
    first, *_ = desk.claim()
    bars = Bars()
    bars.show(client.sweeps.runs(sweep.id), {})
    whole, *others = lines_of(bars)
    assert len(others) == MOST_BARS
    assert "2 that run have no bar" in whole
    desk.fail(first)
    runs = client.sweeps.runs(sweep.id)
    bars.show(runs, {})
    assert first not in {run.id for run in bars.chosen(runs)}
    assert "1 that run have no bar" in lines_of(bars)[0]


def test_the_time_that_is_left_is_told_from_the_speed_since_one_looks(client: Client, desk: Desk) -> None:
    run = client.runs.submit(RUN)
    desk.claim()
    clock = [0.0]
    bars = Bars(get_time=lambda: clock[0])
    for done in (40, 50, 60):  # ten steps a minute, so forty take four
        desk.report(run.id, Progress(phase="training", done=done, total=100))
        bars.show([client.runs.get(run.id)], {})
        clock[0] += 60
    (line,) = lines_of(bars)
    assert "0:04:00" in line


def test_another_phase_is_counted_anew(client: Client, desk: Desk) -> None:
    run = client.runs.submit(RUN)
    desk.claim()
    bars = Bars()
    for said in (Progress(phase="extracting", done=900, total=1000), Progress(phase="training", done=10, total=100)):
        desk.report(run.id, said)
        bars.show([client.runs.get(run.id)], {})
    (line,) = lines_of(bars)
    assert "training 10 of 100 steps" in line
    assert "-:--:--" in line  # nothing is known of its speed yet


def test_on_a_terminal_waiting_shows_bars_with_the_latest_metrics(
    client: Client, desk: Desk, terminal: Terminal
) -> None:
    run = client.runs.submit(RUN)
    desk.claim()
    desk.report(run.id, point(1, 99.0), point(20, 55.5), Progress(phase="training", done=20, total=100))
    with redirect_stderr(terminal):
        client.runs.wait(
            run.id,
            progress=True,
            poll_seconds=0,
            on_update=lambda seen: desk.train(run.id) if seen.state == "running" else None,
        )
    shown = terminal.getvalue()
    assert "L0 8" in shown
    assert "100 %" in shown


def test_the_latest_metrics_of_what_trains_are_asked_for(impatient: Client, desk: Desk, terminal: Terminal) -> None:
    sweep = impatient.sweeps.submit(SWEEP)
    first, *_ = desk.claim()
    desk.report(first, point(1, 99.0), point(20, 55.5))
    with redirect_stderr(terminal), pytest.raises(KeyboardInterrupt) as interrupt:
        impatient.sweeps.wait(sweep.id, progress=True)
    assert "L0 55.5" in terminal.getvalue()
    assert "L0 99" not in terminal.getvalue()
    assert interrupt.value.__notes__ == [f'Sweep {sweep.id} goes on; client.sweeps.cancel("{sweep.id}") ends it.']
    assert {run.desired_state for run in impatient.sweeps.runs(sweep.id)} == {"running"}


def test_where_nobody_looks_nothing_is_shown(
    client: Client, finished: UUID, capsys: pytest.CaptureFixture[str]
) -> None:
    client.sweeps.wait(finished, progress=True)
    assert capsys.readouterr() == ("", "")


def test_a_notebook_has_one_output_that_is_drawn_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[dict[str, str]] = []

    class Handle:
        def update(self, bundle: dict[str, str], *, raw: bool) -> None:
            assert raw
            drawn.append(bundle)

    def display(bundle: dict[str, str], *, raw: bool, display_id: bool) -> Handle:
        assert raw
        assert display_id
        assert drawn == []
        drawn.append(bundle)
        return Handle()

    module = types.ModuleType("IPython.display")
    module.__dict__["display"] = display
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    picture = Notebook()
    for text in ("[red]one <b>[/]", "two"):
        picture.show(text)
    assert [bundle["text/plain"].strip() for bundle in drawn] == ["one <b>", "two"]
    assert "&lt;b&gt;" in drawn[0]["text/html"]
    assert "color" in drawn[0]["text/html"]


def test_the_command_waits_without_a_word_while_all_goes_well_and_ends_as_what_it_waited_for(
    prolu: Prolu, client: Client, finished: UUID, run_file: str, desk: Desk
) -> None:
    good = client.sweeps.runs(finished)[1].id
    assert prolu("wait", str(good)) == (OK, "", "")
    assert prolu("wait", str(finished))[:2] == (FAILED, "")
    status, out, _ = prolu("wait", str(good), "--json")
    assert (status, f'"id": "{good}"' in out) == (OK, True)
    waiting = client.runs.submit({**RUN, "name": "waits"})
    status, _, err = prolu("wait", str(waiting.id), "--timeout", "0")
    assert (status, "still queued after 0 s" in err) == (FAILED, True)


def test_a_command_that_submits_and_waits_is_interrupted_and_the_run_goes_on(
    prolu: Prolu, client: Client, run_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(connecting, "Client", partial(Client, sleep=interrupt))
    status, _, err = prolu("submit", run_file, "--wait")
    assert status == INTERRUPTED
    assert "what was submitted goes on" in err
    assert client.runs.list()[0].desired_state == "running"
