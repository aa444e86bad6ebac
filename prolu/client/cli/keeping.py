"""`prolu download`: take the fruits of the work home."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from prolu.client.checkpoints import choose, files_of
from prolu.client.cli import completing
from prolu.client.cli.connecting import connect
from prolu.client.cli.documents import BadInput
from prolu.client.cli.output import note, print_json, short, size
from prolu.client.cli.places import check_new_folder, writing
from prolu.client.cli.references import find_run
from prolu.client.client import Client
from prolu.client.errors import NoSuchCheckpoint, NotFound
from prolu.client.wire import CheckpointRead
from prolu.spec.run import ExportFormat


def download(
    reference: Annotated[
        str,
        typer.Argument(
            metavar="ID", autocompletion=completing.run, help="Run: an id, a unique part of one, or `last`."
        ),
    ] = "last",
    directory: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="New folder; by default prolu-ID-step-N in this one.")
    ] = None,
    step: Annotated[int | None, typer.Option(help="Step of the checkpoint; by default the last one.")] = None,
    layout: Annotated[
        ExportFormat | None, typer.Option("--format", help="Only the export that the run wrote for this library.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the checkpoint as JSON, and the folder it is in.")
    ] = False,
) -> None:
    """Download a checkpoint of a run, or an export that it wrote, and verify its checksums."""
    check_new_folder("DIR", directory)
    with connect() as client:
        run = find_run(client, reference)
        checkpoint = choose_checkpoint(run, client.runs.checkpoints(run), step)
        files = files_of(checkpoint, layout)
        target = directory or Path(f"prolu-{short(run)}-step-{checkpoint.step}{f'-{layout}' if layout else ''}")
        with writing("DIR", target):
            fetch(client, checkpoint, target, layout)
    if as_json:
        print_json({"directory": str(target), "checkpoint": checkpoint})
        return
    total = sum(file.bytes for file in files)
    note(f"{len(files)} files ({size(total)}, checksums good) are in {target}")


def fetch(client: Client, checkpoint: CheckpointRead, target: Path, layout: ExportFormat | None) -> None:
    """Download into `target`, with a bar on a terminal."""
    columns = (TextColumn("step {task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    bars = Progress(*columns, transient=True, console=Console(stderr=True), disable=not sys.stderr.isatty())
    with bars as progress:
        task = progress.add_task(str(checkpoint.step), total=sum(file.bytes for file in files_of(checkpoint, layout)))
        client.checkpoints.download(
            checkpoint, target, layout=layout, on_bytes=lambda count: progress.advance(task, count)
        )


def choose_checkpoint(run: UUID, checkpoints: list[CheckpointRead], step: int | None) -> CheckpointRead:
    """Return the checkpoint at a step, or the last one; of the latest attempt that wrote it. Raises BadInput."""
    try:
        return choose(run, checkpoints, step)
    except NoSuchCheckpoint as error:
        raise BadInput(str(error)) from None


def find_checkpoint(client: Client, reference: str, step: int | None) -> CheckpointRead:
    """The checkpoint that is meant: by its own id, or by its run and a step. Raises BadInput, NoSuchThing."""
    try:
        return client.checkpoints.get(UUID(reference))
    except (ValueError, NotFound):  # no whole id, or that of a run
        run = find_run(client, reference)
        return choose_checkpoint(run, client.runs.checkpoints(run), step)
