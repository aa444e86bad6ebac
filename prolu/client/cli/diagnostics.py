"""`prolu diagnostics`: where the updates of gradient estimators point, measured at the end of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from prolu.client.cli.connecting import connect
from prolu.client.cli.documents import BadInput, check_picture
from prolu.client.cli.output import note, out, print_json, short, table, user_text
from prolu.client.cli.places import check_place, writing
from prolu.client.cli.references import find_run
from prolu.client.plots.alignment import PARTS, Part, estimator_label
from prolu.spec.report import Alignment


def diagnostics(
    reference: Annotated[str, typer.Argument(metavar="RUN", help="An id, a unique part of one, or `last`.")] = "last",
    part: Annotated[
        Part, typer.Option("--part", help="Whose update: the whole loss, or one part of it alone.")
    ] = "loss",
    plot: Annotated[Path | None, typer.Option("--plot", metavar="FILE", help="Draw a picture instead.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show where each gradient estimator's update points: cosines with descent of L0, reconstruction and L1."""
    check_picture(plot)
    check_place("--plot", plot)
    with connect() as client:
        run = client.runs.get(find_run(client, reference))
        found = client.runs.diagnostics(run.id)
    if as_json:
        print_json(found)
        return
    measured = [one for one in found if one.gradient_alignment]
    if not measured:
        raise BadInput(
            f"Run {run.id} has no diagnostics; set training.gradient_alignment in its spec, or measure a checkpoint "
            "with `prolu align`."
        )
    last = measured[-1]
    if plot is None:
        show_alignment(last.gradient_alignment, part, title=f"run {short(run.id)} at step {last.step:,}")
        return
    with writing("--plot", plot):
        title = f"{run.variant or run.name or short(run.id)}, step {last.step:,}"
        draw_alignment(last.gradient_alignment, plot, part, title=title)
    note(f"the picture is in {plot}")


def show_alignment(alignments: Sequence[Alignment], part: Part, *, title: str) -> None:
    """Print a row per estimator and objective, a column per group of parameters. Raises BadInput."""
    found = _of(alignments, part)
    groups = list(dict.fromkeys(one.group for one in found))
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for one in found:
        objective = one.objective if one.bandwidth is None else f"{one.objective}, bandwidth {one.bandwidth:g}"
        error = f"{one.cosine.mean:+.3f} ± {one.cosine.standard_error:.3f}"
        rows.setdefault((estimator_label(one.estimator), objective), {})[one.group] = error
    columns = {"estimator": "left", "descent of": "left", **dict.fromkeys(map(user_text, groups), "right")}
    cells = [
        (user_text(estimator), objective, *(by_group.get(group, "-") for group in groups))
        for (estimator, objective), by_group in rows.items()
    ]
    out().print(table(columns, cells, title=user_text(f"cosine of the update of {PARTS[part]} with descent, {title}")))


def draw_alignment(alignments: Sequence[Alignment], path: Path, part: Part, *, title: str) -> None:
    """Draw the same into a file. Raises BadInput."""
    from prolu.client.plots import alignment_figure, save

    save(alignment_figure(_of(alignments, part), part=part, title=title), path)


def _of(alignments: Sequence[Alignment], part: Part) -> list[Alignment]:
    found = [one for one in alignments if one.part == part]
    if not found:
        known = ", ".join(dict.fromkeys(one.part for one in alignments)) or "nothing"
        raise BadInput(f"--part is {part}, of which there is no update; measured was {known}.")
    return found
