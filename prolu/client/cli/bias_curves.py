"""`prolu biases --against`: the biases of many runs against a field."""

from __future__ import annotations

from pathlib import Path

from prolu.client.cli.connecting import connect
from prolu.client.cli.output import note, out, print_json, short
from prolu.client.cli.places import writing
from prolu.client.cli.references import LAST, find_sweep
from prolu.client.plots.distributions import Population


def against_a_field(
    reference: str, x: str, by: str, filter_: str, latents: Population, plot: Path | None, *, as_json: bool
) -> None:
    """Show, draw or print them: of a sweep, or of all runs that a filter finds where no sweep is named."""
    with connect() as client:
        sweep = None if filter_ and reference == LAST else find_sweep(client, reference)
        found = (
            client.results.biases(filter_, x=x, by=by, latents=latents)
            if sweep is None
            else client.sweeps.biases(sweep, x, by=by, latents=latents, filter=filter_)
        )
    if plot is not None:
        from prolu.client.plots import bias_curve_figure, save

        with writing("--plot", plot):
            save(bias_curve_figure(found.read), plot)
        note(f"the picture is in {plot}")
    elif as_json:
        print_json(found.read)
    else:
        which = "the runs found" if sweep is None else f"sweep {short(sweep)}"
        out().print(found.table(f"biases ({latents} latents) of {which}"))
    if found.read.left_out:
        note(f"{found.read.left_out} runs that succeeded have no snapshot after their first step")
