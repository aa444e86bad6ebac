"""`prolu frontier`: which runs no other betters, of a sweep or of any runs, in a table, a picture of characters, or a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from prolu.client.cli import completing
from prolu.client.cli.connecting import connect
from prolu.client.cli.documents import BadInput, check_picture
from prolu.client.cli.output import note, out, print_json, short
from prolu.client.cli.places import check_place, writing
from prolu.client.cli.references import find_sweep
from prolu.client.wire import Seeds
from prolu.spec.pareto import Goal

SweepOrNone = Annotated[
    str | None,
    typer.Argument(
        metavar="SWEEP",
        autocompletion=completing.sweep,
        help="An id, a unique part of one, or `last`: the default, unless --filter chooses among all.",
    ),
]
Filter = Annotated[
    str, typer.Option("--filter", "-f", autocompletion=completing.filter_text, help="Only runs that this filter finds.")
]
By = Annotated[str, typer.Option(help="What to tell apart: `family`, the value of a path, or `none`.")]
Plot = Annotated[Path | None, typer.Option("--plot", metavar="FILE", help="Draw a picture instead.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def frontier(
    reference: SweepOrNone = None,
    filter_: Filter = "",
    x: Annotated[str, typer.Option("--x", help="Path of one number.")] = "metrics.l0",
    y: Annotated[str, typer.Option("--y", help="Path of the other, such as metrics.ce_loss_score.")] = "metrics.fvu",
    x_goal: Annotated[
        str | None, typer.Option(help="Which way x is better, where that is not known: lower or higher.")
    ] = None,
    y_goal: Annotated[str | None, typer.Option(help="The same for y.")] = None,
    by: By = "family",
    seeds: Annotated[str, typer.Option(help="A point for `each` run, or for the `mean` over seeds.")] = "each",
    dominated: Annotated[bool, typer.Option("--dominated", help="Show what others better, too.")] = False,
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """Show the Pareto frontier of each family of a sweep's runs, or of any runs: L0 against FVU, or any two numbers."""
    asked: dict[str, Any] = {
        "x": x,
        "y": y,
        "x_goal": one_of("--x-goal", x_goal, get_args(Goal)),
        "y_goal": one_of("--y-goal", y_goal, get_args(Goal)),
        "by": by,
        "seeds": one_of("--seeds", seeds, get_args(Seeds)),
        "dominated": dominated,
    }
    check_picture(plot)
    check_place("--plot", plot)
    with connect() as client:
        sweep = None if reference is None and filter_ else find_sweep(client, reference or "last")
        found = (
            client.results.frontier(filter_, **asked)
            if sweep is None
            else client.sweeps.frontier(sweep, filter=filter_, **asked)
        )
    if plot is not None:
        from prolu.client.plots import pareto_figure, save

        with writing("--plot", plot):
            save(pareto_figure(found.read), plot)
        note(f"the picture is in {plot}")
    elif as_json:
        print_json(found.read)
    else:
        console = out()
        console.print(found.table(f"frontier of {'the runs found' if sweep is None else f'sweep {short(sweep)}'}"))
        for line in found.picture():
            console.print(line, markup=False)
    if found.read.left_out:
        note(f"{found.read.left_out} runs that succeeded lack {x} or {y}")


def one_of(option: str, value: str | None, known: tuple[str, ...]) -> str | None:
    """The value, if it is one that is known. Raises BadInput."""
    if value is not None and value not in known:
        raise BadInput(f"{option} must be one of {', '.join(known)}; got {value!r}.")
    return value
