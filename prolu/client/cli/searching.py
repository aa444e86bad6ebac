"""`prolu trials`: what a search asked for, and what came of it."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from prolu.client.cli import completing
from prolu.client.cli.connecting import connect
from prolu.client.cli.output import note, number, out, print_json, short, table, user_text
from prolu.client.cli.references import find_sweep
from prolu.client.wire import SearchRead, TrialRead


def trials(
    reference: Annotated[
        str,
        typer.Argument(
            metavar="SWEEP", autocompletion=completing.sweep, help="An id, a unique part of one, or `last`."
        ),
    ] = "last",
    front: Annotated[bool, typer.Option("--front", help="Only those that no other one beats.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the trials of a search: what was set, objectives, and which no other one beats."""
    with connect() as client:
        sweep = client.sweeps.get(find_sweep(client, reference))
        found = client.sweeps.trials(sweep.id)
    shown = [trial for trial in found if trial.on_front or not front]
    if as_json:
        print_json(shown)
        return
    search = sweep.spec.search
    names = [objective.metric for objective in search.objectives] if search is not None else []
    columns = {
        "#": "right",
        "state": "left",
        **dict.fromkeys(names, "right"),
        "front": "left",
        "run": "left",
        "sets": "left",
    }
    out().print(table(columns, [_cells(trial, len(names)) for trial in shown]))
    if sweep.search is not None:
        note(how_far(sweep.search))


def how_far(search: SearchRead) -> str:
    """Say how far a search is."""
    return f"{search.asked} of {search.trials} trials, {search.open} open; the search is {search.state}"


def _cells(trial: TrialRead, objectives: int) -> tuple[str, ...]:
    values = [number(value) for value in trial.values] if trial.values is not None else [""] * objectives
    settings = ", ".join(f"{path}={json.dumps(value)}" for path, value in trial.set.items())
    return (
        str(trial.number),
        trial.state,
        *values,
        "yes" if trial.on_front else "",
        "" if trial.run_id is None else short(trial.run_id),
        user_text(settings),
    )
