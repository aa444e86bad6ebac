"""`prolu evaluate` and `prolu align`: measure the weights of a checkpoint anew, here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from prolu.client.cli.diagnostics import draw_alignment, show_alignment
from prolu.client.cli.documents import BadInput, check_picture
from prolu.client.cli.offline import (
    DataFile,
    DataRoots,
    Hub,
    Reference,
    Step,
    ask,
    data_options,
    located,
    require_torch,
)
from prolu.client.cli.output import note
from prolu.client.cli.places import check_place, writing
from prolu.client.plots.alignment import Part
from prolu.spec.report import Alignment

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def evaluate(
    reference: Reference = "last",
    step: Step = None,
    data: DataFile = None,
    data_root: DataRoots = None,
    hub: Hub = True,
    as_json: AsJson = False,
) -> None:
    """Measure a checkpoint on held-out data: one of the service, a folder of ours, or one that SAELens saved."""
    require_torch("Measuring weights")
    with located(reference, step) as found:
        answer = ask(
            ["evaluate", found.folder, *data_options(data, data_root, hub=hub), *(["--json"] if as_json else [])]
        )
    print(answer, end="")


def align(
    reference: Reference = "last",
    step: Step = None,
    estimators: Annotated[
        str | None, typer.Option(metavar="LIST", help="Such as `ste,relu_like`, or YAML; by default those of the post.")
    ] = None,
    bandwidths: Annotated[
        str | None, typer.Option(metavar="LIST", help="Widths of the smoothing of L0, such as `0.01,0.1`.")
    ] = None,
    batches: Annotated[int | None, typer.Option(min=2, help="Held-out batches to average over.")] = None,
    part: Annotated[
        Part, typer.Option("--part", help="Whose update: the whole loss, or one part of it alone.")
    ] = "loss",
    plot: Annotated[Path | None, typer.Option("--plot", metavar="FILE", help="Draw a picture instead.")] = None,
    data: DataFile = None,
    data_root: DataRoots = None,
    hub: Hub = True,
    as_json: AsJson = False,
) -> None:
    """Compare where gradient estimators point on the weights of a checkpoint: with descent of L0, reconstruction, L1."""
    check_picture(plot)
    check_place("--plot", plot)
    require_torch("Comparing gradients")
    named = {"--estimators": estimators, "--bandwidths": bandwidths, "--batches": batches}
    options = [word for name, value in named.items() if value is not None for word in (name, str(value))]
    with located(reference, step) as found:
        answer = ask(["align", found.folder, *options, *data_options(data, data_root, hub=hub), "--json"])
        title = found.title
    if as_json:
        print(answer, end="")
        return
    alignments = [Alignment.model_validate(one) for one in json.loads(answer)]
    if not alignments:
        raise BadInput("No update or direction has a length; take a checkpoint of a trained run.")
    if plot is None:
        show_alignment(alignments, part, title=title)
        return
    with writing("--plot", plot):
        draw_alignment(alignments, plot, part, title=title)
    note(f"the picture is in {plot}")
