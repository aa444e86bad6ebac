"""What `prolu show` prints fits the terminal, and cuts nothing that tells why an attempt ended."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from prolu.client.cli import output
from prolu.client.cli.attempts import print_attempts
from prolu.client.wire import AttemptRead

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
CAUSE = (
    "Worker unexpectedly exits with a connection error code 2; the process was killed by the [OOM] killer of its node."
)
LOST = AttemptRead(
    epoch=1,
    outcome="lost",
    node="10.0.0.17/abcdef",
    nodes=["10.0.0.17/abcdef", "10.0.0.18/fedcba"],
    started_at=BEGIN,
    finished_at=BEGIN + timedelta(hours=3),
    resumed_from_step=None,
    last_step=1_200,
    stop_reason=None,
    failure_class="node_lost",
    message="Its node is gone.",
    exit_cause=CAUSE,
    traceback_tail=None,
)
DONE = LOST.model_copy(
    update={
        "epoch": 12,
        "outcome": "succeeded",
        "nodes": None,
        "resumed_from_step": 1_000,
        "failure_class": None,
        "message": None,
        "exit_cause": None,
    }
)


def printed(width: int, *, terminal: bool) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None, highlight=False)
    print_attempts(console, [LOST, DONE])
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_of_each_attempt_nothing_is_cut_however_narrow_the_terminal(width: int) -> None:
    lines = printed(width, terminal=True)
    assert max(map(len, lines)) <= width
    assert " ".join(" ".join(lines).split()) == (
        "attempt outcome failure steps took "
        f"1 lost node_lost 0 to 1,200 3 h on 10.0.0.17/abcdef, 10.0.0.18/fedcba Its node is gone. exit cause: {CAUSE} "
        "12 succeeded - 1,000 to 1,200 3 h on 10.0.0.17/abcdef"
    )


def test_in_a_pipe_each_sentence_is_one_line_for_those_who_search() -> None:
    lines = printed(80, terminal=False)
    assert lines[1] == "      1  lost       node_lost  0 to 1,200      3 h"
    assert lines[4] == f"         exit cause: {CAUSE}"


@pytest.mark.parametrize(("width", "name"), [("60", "a name longer than th…"), ("120", "a name longer than the room")])
def test_one_column_yields_to_the_others(width: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "out", lambda: Console(width=int(width)))
    console = Console(file=io.StringIO(), width=int(width))
    columns = {"id": "left", "name": "left", "state": "left", "step": "right"}
    row = ("0a0b0c0d", "a name longer than the room", "[red]succeeded[/]", "100,000/100,000")
    console.print(output.table(columns, [row], yields="name"))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue().splitlines()[1].rstrip()
    assert shown == f"0a0b0c0d  {name}  succeeded  100,000/100,000"
