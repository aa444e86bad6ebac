"""The tries at a run as people look at them: a line for each, and below it where it ran and what happened to it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.padding import Padding

from prolu.client.cli.output import span, user_text
from prolu.client.wire import AttemptRead

_COLUMNS = ("attempt", "outcome", "failure", "steps", "took")
_GAP = "  "


def print_attempts(console: Console, attempts: Sequence[AttemptRead]) -> None:
    """Print them, the first one first; nothing is cut. On a terminal, long sentences go on in the next line."""
    rows = [_cells(attempt) for attempt in attempts]
    widths = [max(map(len, column)) for column in zip(_COLUMNS, *rows, strict=True)]
    console.print(f"[bold]{_line(_COLUMNS, widths)}[/]", soft_wrap=True)
    for attempt, row in zip(attempts, rows, strict=True):
        console.print(_line(row, widths), soft_wrap=True)
        for told in _told(attempt):
            indent = widths[0] + len(_GAP)
            if console.is_terminal:
                console.print(Padding(user_text(told), (0, 0, 0, indent), expand=False))
            else:
                console.print(" " * indent + user_text(told), soft_wrap=True)


def _cells(attempt: AttemptRead) -> tuple[str, ...]:
    took = (attempt.finished_at or datetime.now(UTC)) - attempt.started_at
    return (
        str(attempt.epoch),
        attempt.outcome or "live",
        attempt.failure_class or "-",
        f"{attempt.resumed_from_step or 0:,} to {attempt.last_step:,}",
        span(max(0.0, took.total_seconds())),
    )


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    number, *rest = zip(cells, widths, strict=True)
    return _GAP.join([number[0].rjust(number[1]), *(cell.ljust(width) for cell, width in rest)]).rstrip()


def _told(attempt: AttemptRead) -> list[str]:
    nodes = list(dict.fromkeys(attempt.nodes or ([attempt.node] if attempt.node else [])))
    told = [f"on {', '.join(nodes)}"] if nodes else []
    if attempt.message:
        told.append(attempt.message)
    if attempt.exit_cause and attempt.exit_cause != attempt.message:
        told.append(f"exit cause: {attempt.exit_cause}")
    return told
