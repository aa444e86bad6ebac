"""`prolu export`: a checkpoint in another library's layout. Weights are torch's business, so a child process converts them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prolu.client.cli.offline import Reference, Step, do, located, require_torch
from prolu.client.cli.output import note
from prolu.client.cli.places import check_new_folder
from prolu.spec.run import ExportFormat


def export(
    reference: Reference = "last",
    layout: Annotated[ExportFormat, typer.Option("--format", help="The library that shall read it.")] = "sae_lens",
    directory: Annotated[
        Path | None,
        typer.Option("--to", metavar="DIR", help="New folder; by default prolu-ID-step-N-FORMAT in this one."),
    ] = None,
    step: Step = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Convert a checkpoint for SAELens or dictionary_learning; say what that layout cannot hold."""
    require_torch("Converting weights")
    check_new_folder("--to", directory)
    with located(reference, step) as found:
        target = directory or Path(f"{found.name}-{layout}")
        words = ["export", found.folder, "--format", layout, "--to", str(target)]
        do([*words, *(["--json"] if as_json else [])])
    note(f"load it with {_LOADERS[layout].format(folder=target)}")


_LOADERS: dict[ExportFormat, str] = {
    "sae_lens": 'sae_lens.SAE.load_from_disk("{folder}")',
    "dictionary_learning": 'dictionary_learning.utils.load_dictionary("{folder}", "cpu")',
}
