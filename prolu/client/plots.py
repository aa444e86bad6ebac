"""Pictures of what a sweep found, with matplotlib (which the light client does without until one is drawn).

    bias_figure        per variant: b_enc over training at its smallest and largest coefficient, and at the end for each
    frontier_figure    L0 against FVU, by variant, the coefficient at each point

Colours are Okabe and Ito's, which colour-blind people tell apart; the coefficients' are viridis, which also greys well.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

from prolu.client.client import Client
from prolu.client.histograms import common_edges, rebin
from prolu.client.results import MissingPackage
from prolu.client.wire import BiasSnapshotRead, ResultRow
from prolu.spec.report import BiasPopulation, Distribution

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Population = Literal["all", "alive", "dead"]

ENDINGS = (".png", ".pdf", ".svg")

_PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
# Labels of different variants stand on different sides of their points, in points of type.
_LABEL_OFFSETS = ((9, 9), (-9, 9), (-9, -9), (9, -9))
_COEFFICIENT = "sparsity.coefficient"
_BINS = 56  # fewer than a snapshot's own, or the difference shows as stripes
_WIDE_RANGE = 8.0
_CAPTION = (
    "Shade: density of latents, each column to its own peak. λ: L1 coefficient. m: projection of the normalised\n"
    "activation, without the bias. The range shown holds the middle 98 % of the biases of every snapshot."
)
_STYLE = {
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#444444",
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.framealpha": 0.85,
    "legend.edgecolor": "none",
    "legend.fontsize": 9,
    "svg.fonttype": "none",
}


@dataclass(frozen=True)
class BiasSeries:
    """The bias statistics of one run over training."""

    variant: str
    coefficient: float
    snapshots: Sequence[BiasSnapshotRead]


def biases_of_run(client: Client, run: UUID) -> BiasSeries:
    """Fetch what `bias_figure` draws of one run."""
    found = client.runs.get(run)
    label = found.variant or found.name or str(found.id)[-8:]
    return BiasSeries(label, found.spec.sparsity.coefficient, client.runs.bias_statistics(run))


def biases_of_sweep(client: Client, sweep: UUID) -> list[BiasSeries]:
    """Fetch what `bias_figure` draws of each run of a sweep, in the order of its points."""
    return [biases_of_run(client, run.id) for run in client.sweeps.runs(sweep)]


def bias_figure(series: Sequence[BiasSeries], *, population: Population = "all") -> Figure:
    """Draw the encoder biases: one row per variant, over training on the left, at the end by coefficient on the right.

    Raises MissingPackage without matplotlib.
    """
    plt = _pyplot()
    figure: Figure
    drawn = [one for one in series if one.snapshots]
    variants = list(dict.fromkeys(one.variant for one in drawn))
    rows = [sorted((one for one in drawn if one.variant == name), key=lambda one: one.coefficient) for name in variants]
    columns = max(min(len(row), 2) for row in rows)
    with plt.rc_context(_STYLE):
        figure, grid = plt.subplots(
            len(rows),
            columns + 1,
            figsize=(4.3 * columns + 4.6, 2.75 * len(rows) + 0.9),
            squeeze=False,
            layout="constrained",
        )
        for axes, row in zip(grid, rows, strict=True):
            ends = [row[0], row[-1]] if len(row) > 1 else row
            edges = common_edges(
                (_bias(snapshot, population) for one in row for snapshot in one.snapshots), bins=_BINS, trim=True
            )
            for place, one in zip(axes, ends, strict=False):
                _draw_over_training(place, one, edges, population)
            for place in axes[len(ends) : columns]:
                place.set_visible(False)
            _draw_at_the_end(axes[-1], row, edges, population)
        which = "" if population == "all" else f" ({population} latents)"
        figure.suptitle(f"Encoder biases{which}: over training, and at the end by L1 coefficient", fontsize=13)
        figure.supxlabel(_CAPTION, fontsize=9, color="#444444")
    return figure


def frontier_figure(rows: Iterable[ResultRow]) -> Figure:
    """Draw L0 against FVU for every run that has both: down and to the left is better.

    Raises MissingPackage without matplotlib.
    """
    plt = _pyplot()
    from matplotlib.patheffects import withStroke
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    figure: Figure
    points: dict[str, list[tuple[float, float, float | None]]] = {}
    for row in rows:
        if "l0" in row.metrics and "fvu" in row.metrics:
            points.setdefault(row.variant or "runs", []).append(
                (row.metrics["l0"], row.metrics["fvu"], row.set.get(_COEFFICIENT))
            )
    with plt.rc_context(_STYLE):
        figure, axes = plt.subplots(figsize=(7.2, 5.0), layout="constrained")
        for index, (variant, line) in enumerate(points.items()):
            line.sort(key=lambda point: point[0])
            colour = _PALETTE[index % len(_PALETTE)]
            axes.plot(
                [l0 for l0, _, _ in line],
                [fvu for _, fvu, _ in line],
                marker=_MARKERS[index % len(_MARKERS)],
                markersize=7,
                linewidth=1.3,
                color=colour,
                label=variant,
            )
            for l0, fvu, coefficient in line:
                if coefficient is not None:
                    axes.annotate(
                        f"λ = {coefficient:.3g}",
                        (l0, fvu),
                        xytext=_LABEL_OFFSETS[index % len(_LABEL_OFFSETS)],
                        textcoords="offset points",
                        ha="left" if _LABEL_OFFSETS[index % len(_LABEL_OFFSETS)][0] > 0 else "right",
                        va="center",
                        fontsize=8.5,
                        color=colour,
                        path_effects=[withStroke(linewidth=3, foreground="white")],
                        zorder=5,
                    )
        axes.set_xlabel("L0: mean number of active latents per token")
        axes.set_ylabel("FVU: fraction of variance unexplained")
        axes.set_title("Sparsity against reconstruction, held-out data (down and left is better)")
        reached = [l0 for line in points.values() for l0, _, _ in line if l0 > 0]
        if reached and max(reached) > _WIDE_RANGE * min(reached):
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(ScalarFormatter())
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.margins(x=0.16, y=0.12)
        axes.grid(visible=True)
        if points:
            axes.legend(title="variant")
    return figure


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure and let go of it; the file's ending, one of `ENDINGS`, says what kind. Raises ValueError for another."""
    import matplotlib.pyplot as plt

    figure.savefig(path, dpi=150)
    plt.close(figure)


def _pyplot() -> Any:
    try:
        import matplotlib as mpl
    except ModuleNotFoundError:
        raise MissingPackage(
            "Pictures need matplotlib, which is not installed; run pip install 'prolu[demo]'."
        ) from None
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def _draw_over_training(axes: Axes, one: BiasSeries, edges: Sequence[float], population: Population) -> None:
    """A column of shades per snapshot (each column its own density), with the median and the 5 to 95 % band."""
    from matplotlib.colors import PowerNorm

    steps = [snapshot.step for snapshot in one.snapshots]
    shares = []
    for snapshot in one.snapshots:
        counts = rebin(_bias(snapshot, population), edges)
        peak = max(counts) or 1.0
        shares.append([count / peak for count in counts])
    axes.pcolormesh(
        _borders(steps),
        edges,
        [list(column) for column in zip(*shares, strict=True)],
        cmap="Blues",
        norm=PowerNorm(0.5, vmin=0, vmax=1),
        rasterized=True,
    )
    for probability, style, label in (("0.5", "-", "median"), ("0.05", "--", "5 % and 95 %"), ("0.95", "--", "_")):
        quantiles = [_of(snapshot, population).bias.quantiles.get(probability) for snapshot in one.snapshots]
        axes.plot(steps, quantiles, color=_PALETTE[1], linewidth=1.3, linestyle=style, label=label)  # type: ignore[arg-type]
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_title(f"{one.variant}, λ = {one.coefficient:.3g}")
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("b_enc (units of m)")
    axes.legend(loc="lower left", ncols=2)


def _draw_at_the_end(axes: Axes, row: Sequence[BiasSeries], edges: Sequence[float], population: Population) -> None:
    import matplotlib as mpl

    shades = mpl.colormaps["viridis"]
    width = edges[1] - edges[0]
    peak = 0.0
    for index, one in enumerate(row):
        last = _of(one.snapshots[-1], population)
        counts = rebin(last.bias, edges)
        total = sum(counts) or 1.0
        colour = shades(0.05 + 0.75 * index / max(1, len(row) - 1))
        negative = "-" if last.fraction_negative is None else f"{100 * last.fraction_negative:.1f} %"
        density = [100 * count / total for count in counts]
        peak = max(peak, *density)
        axes.stairs(density, edges, color=colour, linewidth=1.4, label=f"λ = {one.coefficient:.3g}: {negative} below 0")
        axes.stairs(density, edges, color=colour, fill=True, alpha=0.18)
    axes.axvline(0, color="black", linewidth=0.8)
    lasts = {one.snapshots[-1].step for one in row}
    axes.set_title(f"{row[0].variant}, " + (f"at step {lasts.pop()}" if len(lasts) == 1 else "last snapshots"))
    axes.set_xlabel("b_enc (units of m)")
    axes.set_ylabel(f"% of latents per {width:.2g}")
    axes.locator_params(axis="x", nbins=5)
    axes.set_ylim(0, (peak or 1.0) * (1.15 + 0.13 * len(row)))  # room for the legend above the curves
    axes.legend(loc="upper left")


def _bias(snapshot: BiasSnapshotRead, population: Population) -> Distribution:
    return _of(snapshot, population).bias


def _of(snapshot: BiasSnapshotRead, population: Population) -> BiasPopulation:
    statistics = snapshot.statistics
    return {"all": statistics.all, "alive": statistics.alive, "dead": statistics.dead}[population]


def _borders(steps: Sequence[int]) -> list[float]:
    """Borders half-way between steps, for columns that stand at their steps."""
    if len(steps) == 1:
        return [steps[0] - 0.5, steps[0] + 0.5]
    middles = [(left + right) / 2 for left, right in pairwise(steps)]
    return [steps[0] - (middles[0] - steps[0]), *middles, steps[-1] + (steps[-1] - middles[-1])]
