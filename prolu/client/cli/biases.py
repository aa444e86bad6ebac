"""`prolu biases`: what the learned biases look like, of a run over training, of a sweep at the end by its sparsity."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal
from uuid import UUID

import typer

from prolu.client.cli import completing
from prolu.client.cli.bias_curves import against_a_field
from prolu.client.cli.connecting import connect
from prolu.client.cli.documents import BadInput, check_picture
from prolu.client.cli.offline import ask, located, require_torch
from prolu.client.cli.output import note, number, out, percent, print_json, short, state, table, user_text
from prolu.client.cli.places import check_place, writing
from prolu.client.cli.references import LAST, find
from prolu.client.cli.remote import Remote, remote_checkpoint, telling
from prolu.client.client import Client
from prolu.client.histograms import bar, sparkline
from prolu.client.levels import in_words, value_of
from prolu.client.plots.distributions import Population, population_of
from prolu.client.trained import counts, was_trained
from prolu.client.wire import BiasSnapshotRead
from prolu.spec.binning import common_edges, rebin
from prolu.spec.report import BiasPopulation, BiasSnapshot

_SPARK_BINS = 32
_BAR_BINS = 24
_BAR_WIDTH = 50
_MOST_ROWS = 12


def biases(
    reference: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            autocompletion=completing.run_or_sweep,
            help="Run or sweep: an id, a unique part of one, or `last`.",
        ),
    ] = LAST,
    population: Annotated[
        Population, typer.Option("--latents", help="Which latents: all, or the alive or the dead alone.")
    ] = "all",
    plot: Annotated[Path | None, typer.Option("--plot", metavar="FILE", help="Draw a picture instead.")] = None,
    over_training: Annotated[
        bool, typer.Option("--over-training", help="Of a sweep, draw each variant over training too; with --plot.")
    ] = False,
    recompute: Annotated[
        bool,
        typer.Option("--recompute", help="Compute them again from the files of a checkpoint, given by id or folder."),
    ] = False,
    step: Annotated[int | None, typer.Option(help="Step of the run's checkpoint; with --recompute.")] = None,
    remote: Remote = False,
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="PATH",
            autocompletion=completing.paths,
            help="Tell those of a sweep's runs against a field, over seeds.",
        ),
    ] = None,
    by: Annotated[
        str, typer.Option(help="With --against, what to tell apart: `family`, a path, or `none`.")
    ] = "family",
    filter_: Annotated[
        str,
        typer.Option(
            "--filter",
            "-f",
            autocompletion=completing.filter_text,
            help="With --against, only runs that this filter finds, of all if no ID is given.",
        ),
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the biases of a run over training, or of a sweep's runs at their ends: share below zero, quantiles, slack."""
    if over_training and plot is None:
        raise BadInput("--over-training says what to draw; name a picture with --plot.")
    if step is not None and not recompute:
        raise BadInput("--step chooses a checkpoint; add --recompute.")
    if remote and not recompute:
        raise BadInput("--remote says where statistics are computed again; add --recompute.")
    check_picture(plot)
    check_place("--plot", plot)
    if against is not None:
        against_a_field(reference, against, by, filter_, population, plot, as_json=as_json)
        return
    if filter_:
        raise BadInput("--filter chooses runs to compare; say by --against which field they are told against.")
    if recompute:
        title, snapshot = (_recomputed_there if remote else _recomputed_here)(reference, step)
        _show_recomputed(title, snapshot, population, plot, as_json=as_json)
        return
    with connect() as client:
        kind, found = find(client, reference)
        if plot is not None:
            with writing("--plot", plot):
                _draw(client, kind, found, population, plot, over_training=over_training)
            note(f"the picture is in {plot}")
        elif kind == "run":
            snapshots = client.runs.biases(found)
            print_json(snapshots) if as_json else _print_run(found, snapshots, population)
        else:
            _print_sweep(client, found, population, as_json=as_json)


def _recomputed_here(reference: str, step: int | None) -> tuple[str, BiasSnapshotRead]:
    """From the files alone, so that what a run reported can be checked, and analysed where no service is."""
    require_torch("Reading weights", remote=True)
    with located(reference, step) as found:
        answer, title = ask(["biases", found.folder, "--json"]), found.title
    snapshot = BiasSnapshot.model_validate_json(answer)
    return title, BiasSnapshotRead(run_id=UUID(int=0), **snapshot.model_dump(exclude={"kind"}))


def _recomputed_there(reference: str, step: int | None) -> tuple[str, BiasSnapshotRead]:
    """The same, by the service."""
    with remote_checkpoint(reference, step) as (client, checkpoint):
        read = client.checkpoints.recompute(checkpoint, on_look=telling())
    return f"run {short(checkpoint.run_id)} at step {checkpoint.step:,}", read


def _show_recomputed(
    title: str, read: BiasSnapshotRead, population: Population, plot: Path | None, *, as_json: bool
) -> None:
    if as_json:
        print_json(BiasSnapshot(**read.model_dump(exclude={"run_id"})))
        return
    if plot is None:
        _print_series(title, [read], population)
        return
    from prolu.client.plots import BiasSeries, run_bias_figure, save

    with writing("--plot", plot):
        save(run_bias_figure(BiasSeries(title, None, [read]), population=population), plot)
    note(f"the picture is in {plot}")


def _draw(
    client: Client,
    kind: Literal["run", "sweep"],
    found: UUID,
    population: Population,
    path: Path,
    *,
    over_training: bool,
) -> None:
    from prolu.client.plots import bias_figure, biases_of_run, biases_of_sweep, level_figure, run_bias_figure, save

    if kind == "run":
        series = biases_of_run(client, found)
        _require(series.snapshots, kind, found)
        save(run_bias_figure(series, population=population), path)
    elif over_training:
        of_runs = biases_of_sweep(client, found)
        _require(of_runs, kind, found)
        save(bias_figure(of_runs, population=population), path)
    else:
        rows = [row for row in client.sweeps.bias_statistics(found) if counts(row.state, row.step)]
        _require(rows, kind, found)
        save(level_figure(rows, population=population), path)


def _require(found: Sequence[object], kind: str, which: UUID) -> None:
    if not found:
        raise BadInput(f"{kind} {which} has no bias statistics yet; wait until it trains.")


def _print_run(run: UUID, snapshots: Sequence[BiasSnapshotRead], population: Population) -> None:
    if not snapshots:
        note(f"run {run} has no bias statistics yet; they come with its first step")
        return
    _print_series(f"run {short(run)}", snapshots, population)


def _print_series(title: str, snapshots: Sequence[BiasSnapshotRead], population: Population) -> None:
    populations = [(snapshot, population_of(snapshot.statistics, population)) for snapshot in snapshots]
    edges = common_edges((biases.bias for _, biases in populations), _SPARK_BINS)
    rows = [
        (
            f"{snapshot.step:,}",
            percent(biases.fraction_negative),
            percent(biases.fraction_zero),
            percent(biases.fraction_positive),
            *_spread(biases),
            sparkline(rebin(biases.bias, edges)),
        )
        for snapshot, biases in _evenly(populations, _MOST_ROWS)
    ]
    last, biases = populations[-1]
    console = out()
    console.print(
        table(
            {"step": "right", **_COLUMNS, f"{edges[0]:.3g} to {edges[-1]:.3g}": "left"},
            rows,
            title=user_text(f"biases of {biases.count:,} latents ({population}), {title}"),
        )
    )
    console.print(f"\n[bold]at step {last.step:,}[/]")
    for line in _bars(biases):
        console.print(line, markup=False)


def _print_sweep(client: Client, sweep: UUID, population: Population, *, as_json: bool) -> None:
    rows = client.sweeps.bias_statistics(sweep)
    if as_json:
        print_json(rows)
        return
    rows = [row for row in rows if was_trained(row.step)]
    if not rows:
        note(f"no run of sweep {sweep} has bias statistics yet; they come with its first step")
        return
    edges = common_edges((population_of(row.statistics, population).bias for row in rows), _SPARK_BINS)
    order = {variant: place for place, variant in enumerate(dict.fromkeys(row.variant for row in rows))}
    rows.sort(key=lambda row: (order[row.variant], value_of(row.level), row.point))
    unfinished = any(row.state != "succeeded" for row in rows)
    shown = [
        (
            user_text(row.variant or row.name),
            *([state(row.state)] if unfinished else []),
            in_words(row.level) or "-",
            str(row.set.get("training.seed", "-")),
            f"{row.step:,}",
            percent(biases.fraction_negative),
            percent(biases.fraction_zero),
            percent(biases.fraction_positive),
            *_spread(biases),
            sparkline(rebin(biases.bias, edges)),
        )
        for row in rows
        for biases in [population_of(row.statistics, population)]
    ]
    columns = {"variant": "left", **({"state": "left"} if unfinished else {}), "sparsity": "left"}
    columns |= {"seed": "right", "step": "right", **_COLUMNS}
    out().print(
        table(
            {**columns, f"{edges[0]:.3g} to {edges[-1]:.3g}": "left"},
            shown,
            title=f"biases ({population} latents), sweep {short(sweep)}",
        )
    )


_COLUMNS = {
    "b < 0": "right",
    "b = 0": "right",
    "slack b > 0": "right",
    "min": "right",
    "5 %": "right",
    "median": "right",
    "95 %": "right",
    "max": "right",
}


def _spread(biases: BiasPopulation) -> tuple[str, ...]:
    bias = biases.bias
    middle = [bias.quantiles.get(probability) for probability in ("0.05", "0.5", "0.95")]
    return tuple(number(value, 3) for value in (bias.min, *middle, bias.max))


def _bars(biases: BiasPopulation) -> list[str]:
    """A horizontal histogram; the bin that holds zero is marked, since there the sign of a bias changes."""
    edges = common_edges([biases.bias], _BAR_BINS)
    counts = rebin(biases.bias, edges)
    peak = max(counts) or 1.0
    width = _BAR_WIDTH if sys.stdout.isatty() else _BAR_WIDTH * 2 // 3
    return [
        f"{low:>9.3g} {'0' if low <= 0 < high else '│'} {bar(count / peak, width)} {count:.0f}".rstrip()
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
    ]


def _evenly(
    items: Sequence[tuple[BiasSnapshotRead, BiasPopulation]], most: int
) -> Sequence[tuple[BiasSnapshotRead, BiasPopulation]]:
    """The first, the last and evenly spaced ones between."""
    if len(items) <= most:
        return items
    return [items[round(index * (len(items) - 1) / (most - 1))] for index in range(most)]
