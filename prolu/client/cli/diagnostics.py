"""`prolu diagnostics`: where the updates of gradient estimators point, measured at the end of a run, or of each of a sweep's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from prolu.client.cli import completing
from prolu.client.cli.connecting import connect
from prolu.client.cli.documents import BadInput, check_picture
from prolu.client.cli.output import note, out, print_json, short, table, user_text
from prolu.client.cli.places import check_place, writing
from prolu.client.cli.references import Kind, find
from prolu.client.plots.alignment import PARTS, Part, batches_of, estimator_label
from prolu.client.wire import DiagnosticsRead
from prolu.spec.report import Alignment, Estimate


def diagnostics(
    reference: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            autocompletion=completing.run_or_sweep,
            help="Run or sweep: an id, a unique part of one, or `last`.",
        ),
    ] = "last",
    part: Annotated[
        Part, typer.Option("--part", help="Whose update: the whole loss, or one part of it alone.")
    ] = "loss",
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw a picture instead; of a run.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show where each gradient estimator's update points: cosines with descent of L0, reconstruction and L1."""
    check_picture(plot)
    check_place("--plot", plot)
    with connect() as client:
        kind, which = find(client, reference)
        runs = [which] if kind == "run" else [run.id for run in client.sweeps.runs(which)]
        found = [one for run in runs for one in client.runs.diagnostics(run)]
        if as_json:
            print_json(found)
            return
        # The newest of each run, in the order of the runs.
        last = {one.run_id: one for one in found if one.gradient_alignment}
        _require(last, kind, which, plot)
        measured = [(client.runs.get(run), one) for run, one in last.items()]
    if plot is None:
        for run, one in measured:
            label = f"run {short(run.id)}" if kind == "run" else f"{run.name or 'run'} ({short(run.id)})"
            show_alignment(one.gradient_alignment, part, title=f"{label} at step {one.step:,}")
        return
    ((run, one),) = measured
    with writing("--plot", plot):
        title = f"{run.variant or run.name or short(run.id)}, step {one.step:,}"
        draw_alignment(one.gradient_alignment, plot, part, title=title)
    note(f"the picture is in {plot}")


def _require(last: Mapping[UUID, DiagnosticsRead], kind: Kind, which: UUID, plot: Path | None) -> None:
    """Raise BadInput if there is nothing to show, or no one run to draw."""
    if not last:
        subject = f"Run {which} has no" if kind == "run" else f"No run of sweep {which} has"
        raise BadInput(
            f"{subject} diagnostics; set training.gradient_alignment in its spec, or measure a checkpoint "
            "with `prolu align`."
        )
    if plot is not None and kind == "sweep":
        runs = ", ".join(map(short, last))
        raise BadInput(
            f"--plot draws one run, and {short(which)} is a sweep; choose one of its runs with diagnostics ({runs}), "
            f"such as `prolu diagnostics {short(next(iter(last)))} --plot {plot}`."
        )


def show_alignment(alignments: Sequence[Alignment], part: Part, *, title: str) -> None:
    """Print a row per estimator and objective, a column per group of parameters. Raises BadInput."""
    found = _of(alignments, part)
    groups = list(dict.fromkeys(one.group for one in found))
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for one in found:
        objective = one.objective if one.bandwidth is None else f"{one.objective}, bandwidth {one.bandwidth:g}"
        rows.setdefault((estimator_label(one.estimator), objective), {})[one.group] = _with_error(one.cosine)
    columns = {"estimator": "left", "descent of": "left", **dict.fromkeys(map(user_text, groups), "right")}
    cells = [
        (user_text(estimator), objective, *(by_group.get(group, "-") for group in groups))
        for (estimator, objective), by_group in rows.items()
    ]
    made = table(columns, cells, title=user_text(f"cosine of the update of {PARTS[part]} with descent, {title}"))
    known = any(one.cosine.standard_error is not None for one in found)
    made.caption = f"mean over {batches_of(found)}{' ± standard error' if known else ', whose error is unknown'}"
    out().print(made)


def draw_alignment(alignments: Sequence[Alignment], path: Path, part: Part, *, title: str) -> None:
    """Draw the same into a file. Raises BadInput."""
    from prolu.client.plots import alignment_figure, save

    save(alignment_figure(_of(alignments, part), part=part, title=title), path)


def _with_error(cosine: Estimate) -> str:
    return f"{cosine.mean:+.3f}" + ("" if cosine.standard_error is None else f" ± {cosine.standard_error:.3f}")


def _of(alignments: Sequence[Alignment], part: Part) -> list[Alignment]:
    found = [one for one in alignments if one.part == part]
    if not found:
        known = ", ".join(dict.fromkeys(one.part for one in alignments)) or "nothing"
        raise BadInput(f"--part is {part}, of which there is no update; measured was {known}.")
    return found
