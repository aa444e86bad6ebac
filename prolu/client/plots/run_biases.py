"""Everything that is known of the biases of one run: over training, alive and dead, against frequency and norm, their change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from prolu.client.levels import in_words
from prolu.client.plots.biases import BiasSeries
from prolu.client.plots.distributions import (
    BIAS_AXIS,
    BINS,
    CAPTION,
    Population,
    draw_over_training,
    named,
    population_of,
)
from prolu.client.plots.style import PALETTE, STYLE, caption, pyplot
from prolu.client.wire import BiasSnapshotRead
from prolu.spec.binning import common_edges, rebin
from prolu.spec.report import BiasPopulation, JointHistogram

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Panel = Callable[["Axes"], None]

_FEWEST_COLUMNS = 2  # of a joint histogram that shows anything: unit norms fill one
_PERCENT = 100


def run_bias_figure(series: BiasSeries, *, population: Population = "all") -> Figure:
    """Draw as many panels as there is data for: over training, at the end, against log10 frequency and norm, and the change.

    Raises MissingPackage without matplotlib.
    """
    plt = pyplot()
    figure: Figure
    panels = _panels(series.snapshots, population)
    columns = 2 if len(panels) in (1, 2, 4) else 3
    rows = -(-len(panels) // columns)
    with plt.rc_context(STYLE):
        size = (5.0 * columns + 0.6, 3.5 * rows + 1.1)
        figure, grid = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
        places = [axes for row in grid for axes in row]
        for draw, axes in zip(panels, places, strict=False):
            draw(axes)
        for axes in places[len(panels) :]:
            axes.set_visible(False)
        title = ", ".join(part for part in (series.variant, in_words(series.level)) if part)
        figure.suptitle(f"Biases of {title}{named(population)}", fontsize=13)
        caption(figure, CAPTION)
    return figure


def _panels(snapshots: Sequence[BiasSnapshotRead], population: Population) -> list[Panel]:
    last = snapshots[-1].statistics
    panels: list[Panel] = [
        partial(_over_training, snapshots=snapshots, population=population),
        partial(_at_the_end, last=snapshots[-1], population=population),
    ]
    if last.bias_by_frequency is not None:
        panels.append(partial(_joint, found=last.bias_by_frequency, label="log10 of the firing frequency"))
    if last.bias_by_decoder_norm is not None and _columns(last.bias_by_decoder_norm) >= _FEWEST_COLUMNS:
        panels.append(partial(_joint, found=last.bias_by_decoder_norm, label="norm of the decoder row"))
    changed = [snapshot for snapshot in snapshots if snapshot.statistics.change is not None]
    if changed:
        panels += [partial(_flips, changed=changed), partial(_drift, changed=changed)]
    return panels


def _over_training(axes: Axes, *, snapshots: Sequence[BiasSnapshotRead], population: Population) -> None:
    biases = [population_of(snapshot.statistics, population).bias for snapshot in snapshots]
    draw_over_training(axes, snapshots, common_edges(biases, bins=BINS, trim=True), population)
    axes.set_title("Over training (shade: each column to its own peak)")


def _at_the_end(axes: Axes, *, last: BiasSnapshotRead, population: Population) -> None:
    statistics = last.statistics
    shown: list[tuple[str, BiasPopulation]] = [("alive", statistics.alive), ("dead", statistics.dead)]
    if population != "all":
        shown = [(population, population_of(statistics, population))]
    edges = common_edges((one.bias for _, one in shown), bins=BINS, trim=True)
    everything = sum(one.count for _, one in shown) or 1
    peak = 0.0
    for (name, one), colour, hatch in zip(shown, PALETTE[:2], (None, "////"), strict=False):
        density = [_PERCENT * count / everything for count in rebin(one.bias, edges)]
        peak = max(peak, *density)
        negative = "" if one.fraction_negative is None else f", {_PERCENT * one.fraction_negative:.1f} % below 0"
        axes.stairs(density, edges, color=colour, linewidth=1.5, label=f"{name}: {one.count:,}{negative}")
        axes.stairs(density, edges, color=colour, fill=True, alpha=0.2, hatch=hatch)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_title(f"At step {last.step:,}")
    axes.set_xlabel(BIAS_AXIS)
    axes.set_ylabel(f"% of latents per {edges[1] - edges[0]:.2g}")
    axes.locator_params(axis="x", nbins=6)
    axes.set_ylim(0, (peak or 1.0) * 1.35)
    axes.legend(loc="upper left")


def _joint(axes: Axes, *, found: JointHistogram, label: str) -> None:
    """A logarithmic shade per bin that holds a latent; bins without any stay white. Bias upwards."""
    from matplotlib.colors import LogNorm

    counts = [[count or float("nan") for count in row] for row in found.counts]
    largest = max((count for row in found.counts for count in row), default=1)
    mesh = axes.pcolormesh(
        found.y_edges,
        found.x_edges,
        counts,
        cmap="viridis_r",
        norm=LogNorm(vmin=1, vmax=max(2, largest)),
        rasterized=True,
    )
    bar = axes.figure.colorbar(mesh, ax=axes, label="latents", pad=0.02)
    bar.ax.yaxis.set_major_formatter(lambda value, _place: f"{value:g}")
    axes.axhline(0, color="black", linewidth=0.8)
    _narrow(axes, found)
    axes.set_title(f"Bias against {label}")
    axes.set_xlabel(label)
    axes.set_ylabel(BIAS_AXIS)


def _narrow(axes: Axes, found: JointHistogram) -> None:
    """Show the columns that hold latents, and one more on each side."""
    held = [index for index in range(len(found.y_edges) - 1) if any(row[index] for row in found.counts)]
    if held:
        axes.set_xlim(found.y_edges[max(0, held[0] - 1)], found.y_edges[min(len(found.y_edges) - 1, held[-1] + 2)])


def _columns(found: JointHistogram) -> int:
    return sum(any(row[index] for row in found.counts) for index in range(len(found.y_edges) - 1))


def _flips(axes: Axes, *, changed: Sequence[BiasSnapshotRead]) -> None:
    flips = [
        _PERCENT * snapshot.statistics.change.sign_flips / max(1, snapshot.statistics.all.count)
        for snapshot in changed
        if snapshot.statistics.change is not None
    ]
    axes.plot([snapshot.step for snapshot in changed], flips, color=PALETTE[0], marker="o", markersize=4, linewidth=1.4)
    axes.set_ylim(bottom=0)
    axes.grid(visible=True)
    axes.set_title("Sign flips since the snapshot before")
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("% of latents")


def _drift(axes: Axes, *, changed: Sequence[BiasSnapshotRead]) -> None:
    changes = [(one.step, one.statistics.change) for one in changed if one.statistics.change is not None]
    steps = [step for step, _ in changes]
    for label, colour, marker, values in (
        ("root mean square", PALETTE[0], "o", [change.drift_rms for _, change in changes]),
        ("mean", PALETTE[1], "s", [change.drift_mean for _, change in changes]),
    ):
        axes.plot(steps, values, color=colour, marker=marker, markersize=4, linewidth=1.4, label=label)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.grid(visible=True)
    axes.set_title("Drift since the snapshot before")
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("change of b (units of m)")
    axes.legend(loc="best")
