"""`prolu show`, `results`, `version`: what is there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.console import Console

from prolu import __version__
from prolu.client.cli import completing
from prolu.client.cli.asking import Asked, answer, check_places, refuse_together
from prolu.client.cli.attempts import print_attempts
from prolu.client.cli.connecting import connect
from prolu.client.cli.documents import BadInput, check_picture
from prolu.client.cli.listing import RUN_COLUMNS, counted, run_cells
from prolu.client.cli.output import ago, note, number, out, print_json, short, size, state, table, user_text
from prolu.client.cli.places import check_place, writing
from prolu.client.cli.references import find, find_sweep
from prolu.client.cli.searching import how_far
from prolu.client.client import Client
from prolu.client.columns import INTERVAL
from prolu.client.errors import ProluError
from prolu.client.records import Records
from prolu.client.wire import RunRead, SweepRead

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Reference = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        autocompletion=completing.run_or_sweep,
        help="Run or sweep: an id, a unique part of one, or `last`.",
    ),
]

_WRITERS = {".parquet": Records.to_parquet, ".csv": Records.to_csv, ".json": Records.to_json}


def show(
    reference: Reference = "last",
    spec: Annotated[
        bool, typer.Option("--spec", help="Print the spec alone, as YAML that can be submitted again.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show a run with its attempts and checkpoints, or a sweep with its runs."""
    with connect() as client:
        kind, found = find(client, reference)
        thing = client.runs.get(found) if kind == "run" else client.sweeps.get(found)
        if spec:
            print(yaml.safe_dump(thing.spec.model_dump(mode="json"), sort_keys=False), end="")
        elif as_json:
            print_json(thing)
        elif isinstance(thing, RunRead):
            _print_run(client, thing)
        else:
            _print_sweep(client, thing)


def results(
    reference: Annotated[
        str | None,
        typer.Argument(
            metavar="SWEEP",
            autocompletion=completing.sweep,
            help="An id, a unique part of one, or `last`, the default unless a filter, an order, fields or a limit is given.",
        ),
    ] = None,
    filter_: Annotated[
        str | None,
        typer.Option(
            "--filter",
            metavar="FILTER",
            autocompletion=completing.filter_text,
            help="Of any runs those, such as 'metrics.l0 <= 50 AND state = \"succeeded\"'.",
        ),
    ] = None,
    order_by: Annotated[
        str | None,
        typer.Option(
            "--order-by",
            metavar="PATHS",
            autocompletion=completing.paths,
            help="Sort by these, such as 'metrics.fvu desc, name'.",
        ),
    ] = None,
    fields: Annotated[
        str | None,
        typer.Option(
            "--fields",
            metavar="PATHS",
            autocompletion=completing.paths,
            help="Show these, such as 'id,spec.sae.*,metrics.l0'.",
        ),
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    parquet: Annotated[
        Path | None, typer.Option("--parquet", metavar="FILE", help="Write Parquet, of any length, by the service.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, help="At most so many rows of a filter.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write .parquet, .csv or .json.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw L0 against CE loss score and FVU.")
    ] = None,
    over_seeds: Annotated[
        bool,
        typer.Option("--over-seeds", help=f"One row per group of seeds: mean ± standard error [{INTERVAL}]."),
    ] = False,
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="VARIANT", help="Show the others' differences from it, paired by seed."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Show every metric and number of the biases.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the results of a sweep, one row per run or per group of seeds, or of any runs by a filter; or write them to a file."""
    asked = Asked(filter_, order_by, fields, limit)
    if asked.is_any or as_csv or parquet is not None:
        refuse_together(
            {"--plot": plot, "--over-seeds": over_seeds or None, "--against": against, "--all": everything or None}
        )
        check_places(output, parquet)
        with connect() as client:
            chosen = "last" if reference is None and not asked.is_any else reference
            answer(client, asked, chosen, output=output, as_csv=as_csv, parquet=parquet, as_json=as_json)
        return
    reference = reference or "last"
    over_seeds = over_seeds or against is not None
    if output is not None and output.suffix not in _WRITERS:
        raise BadInput(f"--output must end in {', '.join(_WRITERS)}; got {str(output)!r}.")
    check_picture(plot)
    check_place("--output", output)
    check_place("--plot", plot)
    with connect() as client:
        sweep = client.sweeps.get(find_sweep(client, reference))
        rows = (
            client.sweeps.results_over_seeds(sweep.id, against=against)
            if over_seeds
            else client.sweeps.results(sweep.id)
        )
        drawn = client.sweeps.results_over_seeds(sweep.id) if plot is not None and not over_seeds else rows
    if output is not None:
        with writing("--output", output):
            _WRITERS[output.suffix](rows, output)
        note(f"{len(rows)} rows are in {output}")
    if plot is not None:
        from prolu.client.plots import frontier_figure, save

        with writing("--plot", plot):
            save(frontier_figure(drawn), plot)
        note(f"the picture is in {plot}")
    if as_json:
        print_json(rows.records())
    elif output is None and plot is None:
        title = user_text(sweep.name) or f"sweep {short(sweep.id)}"
        found, lack = rows.present(title, everything=everything)
        out().print(found)
        if lack is not None:
            note(lack)


def version(as_json: AsJson = False) -> None:
    """Show the version of this client and, if one answers, of the service."""
    told: dict[str, str] = {"client": __version__}
    try:
        with connect() as client:
            served = client.version()
            told |= {"service": served.version, "url": client.url, "api": served.api, "database": served.database}
    except ProluError as error:
        told["service"] = f"none ({error})"
    if as_json:
        print_json(told)
        return
    for name, value in told.items():
        out().print(f"{name:<9}{user_text(value)}", soft_wrap=True)


def _print_sweep(client: Client, sweep: SweepRead) -> None:
    console = out()
    _facts(
        console,
        {
            "sweep": str(sweep.id),
            "name": user_text(sweep.name),
            "owner": user_text(sweep.owner),
            "submitted": f"{sweep.created_at:%Y-%m-%d %H:%M:%S} UTC ({ago(sweep.created_at)}), {_place(sweep)}",
            "runs": counted(sweep) + (f", {sweep.reused} of which refer to finished ones" if sweep.reused else ""),
        }
        | ({} if sweep.search is None else {"search": how_far(sweep.search)}),
    )
    console.print(table(RUN_COLUMNS, map(run_cells, client.sweeps.runs(sweep.id)), yields="name"))


def _print_run(client: Client, run: RunRead) -> None:
    console = out()
    phase = f", {user_text(run.progress.phase.replace('_', ' '))}" if run.progress else ""
    facts = {
        "run": str(run.id),
        "name": user_text(run.name),
        "owner": user_text(run.owner),
        "sweep": f"{run.sweep_id} point {run.point}" if run.sweep_id else "-",
        "state": state(run.state) + (f" (wished: {run.desired_state})" if run.desired_state != "running" else ""),
        "step": f"{run.step:,} of {run.total_steps:,}{phase}",
        "submitted": f"{run.created_at:%Y-%m-%d %H:%M:%S} UTC ({ago(run.created_at)}), {_place(run)}",
        "digest": user_text(run.digest),
    }
    if run.retry_of:
        facts["retry of"] = str(run.retry_of)
    if run.superseded:
        facts["superseded"] = "by a later run, which took its place"
    if run.cloned_from:
        facts["clone of"] = str(run.cloned_from)
    if run.reused_from:
        facts["results of"] = f"{run.reused_from}, an identical finished run"
    if run.stopped_early:
        facts["stopped"] = user_text(run.stopped_early)
    if run.failure_class:
        facts["failure"] = run.failure_class
    if run.message:
        facts["message"] = user_text(run.message)
    if run.metrics:
        facts["metrics"] = ", ".join(
            f"{user_text(name)} {number(value)}" for name, value in sorted(run.metrics.items())
        )
    _facts(console, facts)
    attempts = client.runs.attempts(run.id)
    if attempts:
        print_attempts(console, attempts)
    checkpoints = [
        (short(found.id), f"{found.step:,}", str(found.epoch), size(found.bytes), "final" if found.final else "")
        for found in client.runs.checkpoints(run.id)
    ]
    if checkpoints:
        columns = {"checkpoint": "left", "step": "right", "attempt": "right", "size": "right", "": "left"}
        console.print(table(columns, checkpoints))


def _facts(console: Console, facts: dict[str, str]) -> None:
    for name, value in facts.items():
        console.print(f"[bold]{name:<11}[/]{value}", soft_wrap=True)


def _place(thing: RunRead | SweepRead) -> str:
    tier = "" if thing.tier == "normal" else f", tier {thing.tier}"
    return f"priority {thing.priority}{tier}" + (", preemptible" if thing.preemptible else "")
