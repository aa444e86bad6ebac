"""`prolu metrics`: how metrics of runs went over their steps, as a picture of characters, a file, or JSON."""

from __future__ import annotations

from typing import Annotated, get_args

import typer

from prolu.client.cli import completing
from prolu.client.cli.connecting import connect
from prolu.client.cli.documents import BadInput, check_picture
from prolu.client.cli.frontiers import AsJson, Filter, Plot, one_of
from prolu.client.cli.output import note, out, print_json, short
from prolu.client.cli.places import check_place, writing
from prolu.client.cli.references import find
from prolu.client.client import Client
from prolu.client.drawing import scatter
from prolu.client.harmless import harmless
from prolu.client.wire import MetricRead, SeriesRead

_SPLITS = get_args(MetricRead.model_fields["split"].annotation)
_MOST_RUNS = 50


def metrics(
    references: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ID...",
            autocompletion=completing.run_or_sweep,
            help="Runs or sweeps: ids, unique parts, or `last`: the default without --filter.",
        ),
    ] = None,
    filter_: Filter = "",
    names: Annotated[str, typer.Option(help="Metrics, such as `l0,fvu`.")] = "l0,fvu",
    split: Annotated[str | None, typer.Option(help="Only `train` batches, or only `held_out` evaluations.")] = None,
    from_step: Annotated[int | None, typer.Option(min=0, help="Not before this step.")] = None,
    to_step: Annotated[int | None, typer.Option(min=0, help="Not after this step.")] = None,
    points: Annotated[
        int, typer.Option(min=5, max=5000, help="At most so many points of each series; ends and extremes stay.")
    ] = 200,
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """Show metrics of runs over their steps: of runs and sweeps by id, or of those that a filter finds, at most 50."""
    one_of("--split", split, _SPLITS)
    if references and filter_:
        raise BadInput("--filter chooses runs, and so do ids; give one or the other.")
    check_picture(plot)
    check_place("--plot", plot)
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    with connect() as client:
        runs = [] if filter_ else _runs(client, references or ["last"])
        found = client.results.series(
            runs,
            filter=filter_,
            names=wanted,
            split="train" if split == "train" else "held_out" if split else None,
            from_step=from_step,
            to_step=to_step,
            points=points,
        )
    if plot is not None:
        from prolu.client.plots import save, series_figure

        with writing("--plot", plot):
            save(series_figure(found), plot)
        note(f"the picture is in {plot}")
    elif as_json:
        print_json(found)
    else:
        _draw(found)
    if not found.series:
        note(f"nothing is measured yet of {', '.join(wanted)}; metrics come while runs train")


def _runs(client: Client, references: list[str]) -> list[str]:
    """The runs that are meant, those of sweeps by point. Raises BadInput for more than one chart has."""
    runs: list[str] = []
    for reference in references:
        kind, found = find(client, reference)
        runs += [str(found)] if kind == "run" else [str(run.id) for run in client.sweeps.runs(found)]
    runs = list(dict.fromkeys(runs))
    if len(runs) > _MOST_RUNS:
        raise BadInput(
            f"{len(runs)} runs are too many for one chart; name at most {_MOST_RUNS}, or narrow them by --filter."
        )
    return runs


def _draw(found: SeriesRead) -> None:
    console = out()
    for name in dict.fromkeys(one.name for one in found.series):
        drawn = {
            f"{harmless(one.run_name)} {short(one.run_id)} ({one.split}, {one.measured} measured)": [
                (float(step), value) for step, value in zip(one.steps, one.values, strict=True) if value is not None
            ]
            for one in found.series
            if one.name == name
        }
        for line in scatter(drawn, x="step", y=name):
            console.print(line, markup=False)
