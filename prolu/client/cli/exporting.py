"""`prolu export`: a checkpoint in another library's layout. Weights are torch's business: a child process's, or the service's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prolu.client.cli.offline import Reference, Step, do, located, require_torch
from prolu.client.cli.output import note, print_json, short
from prolu.client.cli.places import check_new_folder, writing
from prolu.client.cli.remote import Remote, remote_checkpoint, telling
from prolu.spec.run import ExportFormat


def export(
    reference: Reference = "last",
    layout: Annotated[ExportFormat, typer.Option("--format", help="The library that shall read it.")] = "sae_lens",
    directory: Annotated[
        Path | None,
        typer.Option("--to", metavar="DIR", help="New folder; by default prolu-ID-step-N-FORMAT in this one."),
    ] = None,
    step: Step = None,
    remote: Remote = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Convert a checkpoint for SAELens or dictionary_learning; say what that layout cannot hold."""
    check_new_folder("--to", directory)
    if remote:
        note(
            f"load it with {_LOADERS[layout].format(folder=_remotely(reference, step, layout, directory, as_json=as_json))}"
        )
        return
    require_torch("Converting weights", remote=True)
    with located(reference, step) as found:
        target = directory or Path(f"{found.name}-{layout}")
        words = ["export", found.folder, "--format", layout, "--to", str(target)]
        do([*words, *(["--json"] if as_json else [])])
    note(f"load it with {_LOADERS[layout].format(folder=target)}")


def _remotely(reference: str, step: int | None, layout: ExportFormat, directory: Path | None, *, as_json: bool) -> Path:
    """Have the service convert it, bring it here, and say where it is."""
    with remote_checkpoint(reference, step) as (client, checkpoint):
        target = directory or Path(f"prolu-{short(checkpoint.run_id)}-step-{checkpoint.step}-{layout}")
        check_new_folder("--to", target)
        with writing("--to", target):
            made = client.checkpoints.export(checkpoint, target, layout=layout, on_look=telling())
    for sentence in made.notes:
        note(sentence)
    if as_json:
        print_json(made)
    return target


_LOADERS: dict[ExportFormat, str] = {
    "sae_lens": 'sae_lens.SAE.load_from_disk("{folder}")',
    "dictionary_learning": 'dictionary_learning.utils.load_dictionary("{folder}", "cpu")',
}
