"""`prolu push`: a checkpoint to the Hugging Face hub."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from prolu.client.cli.connecting import connect
from prolu.client.cli.keeping import find_checkpoint
from prolu.client.cli.output import note, out, print_json, size, user_text
from prolu.client.hub import check_repository, hide_bars
from prolu.spec.run import ExportFormat


def push(
    reference: Annotated[
        str, typer.Argument(metavar="ID", help="Run or checkpoint: an id, a unique part of a run's, or `last`.")
    ],
    repository: Annotated[str, typer.Argument(metavar="REPO", help="Repository on the hub, such as our-lab/our-sae.")],
    step: Annotated[int | None, typer.Option(help="Step of the run's checkpoint; by default the last one.")] = None,
    layout: Annotated[
        ExportFormat | None, typer.Option("--format", help="The library that shall read it; by default prolu.")
    ] = None,
    path: Annotated[str, typer.Option(metavar="FOLDER", help="Folder in the repository; by default its root.")] = "",
    private: Annotated[
        bool | None,
        typer.Option("--private/--public", help="Of a repository that is made now; by default as the hub decides."),
    ] = None,
    message: Annotated[str | None, typer.Option("--message", "-m", help="What the commit says.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was pushed as JSON.")] = False,
) -> None:
    """Push the weights of a checkpoint and a model card to the Hugging Face hub, and compare what arrived."""
    check_repository(repository)
    is_terminal = sys.stderr.isatty()
    if not is_terminal:
        hide_bars()
    columns = (TextColumn("fetching"), BarColumn(), DownloadColumn())
    bars = Progress(*columns, transient=True, console=Console(stderr=True), disable=not is_terminal)
    with connect() as client:
        checkpoint = find_checkpoint(client, reference, step)
        with bars as progress:
            task = progress.add_task("", total=None)
            pushed = client.checkpoints.push(
                checkpoint,
                repository,
                layout=layout,
                path=path,
                private=private,
                message=message,
                on_bytes=lambda count: progress.advance(task, count),
            )
    if as_json:
        print_json(asdict(pushed))
        return
    out().print(user_text(pushed.url), soft_wrap=True)
    note(
        f"{len(pushed.files)} files ({size(pushed.bytes)}, checksums good) are there since commit {pushed.commit[:10]}"
    )
