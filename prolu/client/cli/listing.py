"""`prolu runs`, `sweeps`, and `ls` for short: what was submitted, the newest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, cast, get_args

import typer

from prolu.client.cli import completing
from prolu.client.cli.connecting import connect
from prolu.client.cli.documents import BadInput
from prolu.client.cli.output import ago, number, out, print_json, short, state, table, user_text
from prolu.client.cli.references import find_sweep
from prolu.client.wire import RunState, RunSummary, SweepRead

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Archived = Annotated[bool, typer.Option("--archived", help="Show what is in the archive too.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many.")]
States = Annotated[
    list[str] | None,
    typer.Option(
        "--state",
        metavar="STATE",
        autocompletion=completing.state,
        help="Only runs in this state; repeat it for several.",
    ),
]
OfSweep = Annotated[
    str | None, typer.Option("--sweep", metavar="ID", autocompletion=completing.sweep, help="Only runs of this sweep.")
]

RUN_COLUMNS = {
    "id": "left",
    "name": "left",
    "owner": "left",
    "state": "left",
    "step": "right",
    "l0": "right",
    "fvu": "right",
    "submitted": "right",
}


def runs(
    filter_: Annotated[
        str,
        typer.Option(
            "--filter",
            metavar="FILTER",
            autocompletion=completing.filter_text,
            help="Only those, such as 'spec.sae.kind = \"prolu\" AND step > 100'.",
        ),
    ] = "",
    order_by: Annotated[
        str,
        typer.Option(
            "--order-by",
            metavar="PATHS",
            autocompletion=completing.paths,
            help="Sort by these, such as 'metrics.fvu, name desc'.",
        ),
    ] = "",
    states: States = None,
    owner: Annotated[
        str | None, typer.Option("--owner", metavar="USER", help="Only runs that this user submitted.")
    ] = None,
    sweep: OfSweep = None,
    archived: Archived = False,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """List runs, the newest first unless another order is asked for; `prolu results` has columns to choose."""
    _list_runs(
        filter_, order_by, states=states, owner=owner, sweep=sweep, archived=archived, limit=limit, as_json=as_json
    )


def sweeps(archived: Archived = False, limit: Limit = 20, as_json: AsJson = False) -> None:
    """List sweeps, the newest first, and how many of their runs are in which state."""
    with connect() as client:
        found = client.sweeps.list(archived=archived, limit=limit)
    print_json(found) if as_json else _print_sweeps(found)


def ls(
    sweeps_: Annotated[bool, typer.Option("--sweeps", help="List sweeps instead of runs.")] = False,
    states: States = None,
    sweep: OfSweep = None,
    archived: Archived = False,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """List runs (or sweeps), the newest first; `prolu runs` has filters."""
    if sweeps_:
        if states or sweep is not None:
            raise BadInput(f"{'--state' if states else '--sweep'} chooses runs; leave it out, or leave out --sweeps.")
        sweeps(archived, limit, as_json)
    else:
        _list_runs(states=states, sweep=sweep, archived=archived, limit=limit, as_json=as_json)


def run_cells(run: RunSummary) -> tuple[str, ...]:
    """A run as a row of `RUN_COLUMNS`."""
    metrics = run.metrics or {}
    return (
        short(run.id),
        user_text(run.name or run.variant),
        user_text(run.owner),
        state(run.state),
        f"{run.step:,}/{run.total_steps:,}",
        number(metrics.get("l0")),
        number(metrics.get("fvu")),
        ago(run.created_at),
    )


def counted(sweep: SweepRead) -> str:
    """How many runs of a sweep are in which state, as markup."""
    return ", ".join(f"{count} {state(name)}" for name, count in sweep.states.items() if count) or f"{sweep.count}"


def _list_runs(
    filter_: str = "",
    order_by: str = "",
    *,
    states: Sequence[str] | None,
    owner: str | None = None,
    sweep: str | None,
    archived: bool,
    limit: int,
    as_json: bool,
) -> None:
    for name in states or ():
        if name not in get_args(RunState):
            raise BadInput(f"--state must be one of {', '.join(get_args(RunState))}; got {name!r}.")
    with connect() as client:
        found = client.runs.list(
            filter_,
            order_by=order_by,
            state=cast("Sequence[RunState] | None", states),
            owner=owner,
            sweep=None if sweep is None else find_sweep(client, sweep),
            archived=archived,
            limit=limit,
        )
    if as_json:
        print_json(found)
    else:
        out().print(table(RUN_COLUMNS, [run_cells(run) for run in found], yields="name"))


def _print_sweeps(found: Sequence[SweepRead]) -> None:
    rows = [
        (short(sweep.id), user_text(sweep.name), user_text(sweep.owner), counted(sweep), ago(sweep.created_at))
        for sweep in found
    ]
    out().print(table({"id": "left", "name": "left", "owner": "left", "runs": "left", "submitted": "right"}, rows))
