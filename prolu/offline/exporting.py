"""`export`: a checkpoint's folder into another library's layout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prolu.export import export_checkpoint
from prolu.spec.run import ExportFormat


def export(
    checkpoint: Annotated[str, typer.Argument(metavar="CHECKPOINT", help="Folder of a checkpoint: a path or a URL.")],
    layout: Annotated[ExportFormat, typer.Option("--format", help="The library that shall read it.")],
    directory: Annotated[Path, typer.Option("--to", metavar="DIR", help="New folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Write a checkpoint in the layout of SAELens or dictionary_learning."""
    report = export_checkpoint(checkpoint, layout, directory)
    if as_json:
        typer.echo(report.model_dump_json(indent=2))
        return
    typer.echo(f"{', '.join(report.files)} ({report.architecture}) are in {directory}", err=True)
    for sentence in report.notes:
        typer.echo(sentence, err=True)
