"""`prolu logs`: what a run's worker logged and printed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from prolu.client.cli import completing
from prolu.client.cli.connecting import connect
from prolu.client.cli.output import print_json_line
from prolu.client.cli.references import find_run
from prolu.client.harmless import harmless
from prolu.client.wire import LogRead


def logs(
    reference: Annotated[
        str,
        typer.Argument(metavar="RUN", autocompletion=completing.run, help="An id, a unique part of one, or `last`."),
    ] = "last",
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Stay, and print what is logged until the run has ended.")
    ] = False,
    epoch: Annotated[
        int | None, typer.Option("--epoch", metavar="N", min=1, help="Only of this attempt; the first one is 1.")
    ] = None,
    lines: Annotated[
        int | None, typer.Option("--lines", "-n", min=1, max=10_000, help="Only the last so many.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for every report.")] = False,
) -> None:
    """Show what the worker of a run logged and printed, all attempts one after another."""
    with connect() as client:
        run = find_run(client, reference)
        read = client.runs.follow_logs if follow else client.runs.logs
        found: Iterable[LogRead] = read(run, epoch=epoch, lines=lines)
        for report in found:
            if as_json:
                print_json_line(report)
            else:
                print(harmless(report.text).replace("\\t", "    "), flush=True)
