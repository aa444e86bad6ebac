"""`prolu export`: a checkpoint in another library's layout. Weights are torch's business, so a child process converts them."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from prolu.client.cli.connecting import connect
from prolu.client.cli.documents import BadInput
from prolu.client.cli.keeping import choose_checkpoint, fetch
from prolu.client.cli.output import note, short
from prolu.client.cli.places import check_new_folder
from prolu.client.cli.references import find_run
from prolu.client.client import Client
from prolu.client.errors import NotFound
from prolu.client.wire import CheckpointRead
from prolu.spec.run import ExportFormat


def export(
    reference: Annotated[
        str,
        typer.Argument(
            metavar="ID", help="Run, checkpoint or the folder of one: an id, a unique part of a run's, or `last`."
        ),
    ] = "last",
    layout: Annotated[ExportFormat, typer.Option("--format", help="The library that shall read it.")] = "sae_lens",
    directory: Annotated[
        Path | None,
        typer.Option("--to", metavar="DIR", help="New folder; by default prolu-ID-step-N-FORMAT in this one."),
    ] = None,
    step: Annotated[int | None, typer.Option(help="Step of the checkpoint; by default the last one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Convert a checkpoint for SAELens or dictionary_learning; say what that layout cannot hold."""
    if importlib.util.find_spec("torch") is None:
        raise BadInput("Converting weights needs torch, which is not installed here; install prolu[train].")
    check_new_folder("--to", directory)
    if (folder := Path(reference)).is_dir():
        _convert(folder, layout, directory or Path(f"{folder.resolve().name}-{layout}"), as_json=as_json)
        return
    with tempfile.TemporaryDirectory(prefix="prolu-") as scratch:
        with connect() as client:
            checkpoint = _find_checkpoint(client, reference, step)
            fetch(client, checkpoint, Path(scratch, "checkpoint"), None)
        named = Path(f"prolu-{short(checkpoint.run_id)}-step-{checkpoint.step}-{layout}")
        _convert(Path(scratch, "checkpoint"), layout, directory or named, as_json=as_json)


def _find_checkpoint(client: Client, reference: str, step: int | None) -> CheckpointRead:
    try:
        return client.checkpoints.get(UUID(reference))
    except (ValueError, NotFound):  # no whole id, or that of a run
        run = find_run(client, reference)
        return choose_checkpoint(run, client.runs.checkpoints(run), step)


def _convert(folder: Path, layout: ExportFormat, target: Path, *, as_json: bool) -> None:
    command = [sys.executable, "-m", "prolu.offline", "export", str(folder), "--format", layout, "--to", str(target)]
    status = subprocess.run([*command, *(["--json"] if as_json else [])], check=False).returncode  # noqa: S603 our own words
    if status:
        raise typer.Exit(status)
    note(f"load it with {_LOADERS[layout].format(folder=target)}")


_LOADERS: dict[ExportFormat, str] = {
    "sae_lens": 'sae_lens.SAE.load_from_disk("{folder}")',
    "dictionary_learning": 'dictionary_learning.utils.load_dictionary("{folder}", "cpu")',
}
