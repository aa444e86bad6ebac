"""`biases`: the statistics of a checkpoint's biases, computed again from its files."""

from __future__ import annotations

from typing import Annotated

import typer

from prolu.analysis.recompute import recompute_bias_statistics
from prolu.spec.report import BiasPopulation


def biases(
    checkpoint: Annotated[str, typer.Argument(metavar="CHECKPOINT", help="Folder of a checkpoint: a path or a URL.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON, as the run reported it.")] = False,
) -> None:
    """Compute the bias statistics of a checkpoint again, from its files alone."""
    snapshot = recompute_bias_statistics(checkpoint)
    if as_json:
        typer.echo(snapshot.model_dump_json(indent=2))
        return
    statistics = snapshot.statistics
    typer.echo(f"step {snapshot.step:,}, {snapshot.tokens:,} activations")
    typer.echo(_ROW.format("latents", "count", "b < 0", "b = 0", "b > 0", "5 %", "median", "95 %"))
    for name, population in (("all", statistics.all), ("alive", statistics.alive), ("dead", statistics.dead)):
        typer.echo(_ROW.format(name, *_cells(population)))
    change = statistics.change
    if change is not None:
        typer.echo(
            f"since step {change.since_step:,}: {change.sign_flips:,} changed sign, "
            f"drift {change.drift_mean:.4g} in the mean, {change.drift_rms:.4g} rms"
        )


_ROW = "{:<8}{:>9}{:>10}{:>10}{:>10}{:>12}{:>12}{:>12}"


def _cells(population: BiasPopulation) -> list[str]:
    shares = (population.fraction_negative, population.fraction_zero, population.fraction_positive)
    quantiles = [population.bias.quantiles.get(probability) for probability in ("0.05", "0.5", "0.95")]
    return [
        f"{population.count:,}",
        *("-" if share is None else f"{share:.1%}" for share in shares),
        *("-" if value is None else f"{value:.4g}" for value in quantiles),
    ]
