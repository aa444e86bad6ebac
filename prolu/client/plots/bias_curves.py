"""Biases against any field: share below zero, median with its spread, and histograms, a colour per family."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prolu.client.plots.style import STYLE, caption, colour, line, marker, pyplot, stretch
from prolu.client.wire import BiasCurvesRead

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PANELS = {
    "fraction_negative": "share of latents with b < 0",
    "fraction_positive": "slack: share of latents with b > 0",
    "median": "median of b",
}


def bias_curve_figure(read: BiasCurvesRead) -> Figure:
    """Draw three numbers of the biases against the field. Raises MissingPackage without matplotlib."""
    plt = pyplot()
    figure: Figure
    points = [point for curve in read.curves for point in curve.points]
    numeric = all(isinstance(point.x, int | float) and not isinstance(point.x, bool) for point in points)
    order = list(dict.fromkeys(str(point.x) for point in points))

    def place(x: Any) -> float:
        return float(x) if numeric else float(order.index(str(x)))

    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(1, len(_PANELS), figsize=(15, 4.8), squeeze=False, layout="constrained")
        for axes, (name, label) in zip(grid[0], _PANELS.items(), strict=True):
            for index, curve in enumerate(read.curves):
                there = [(place(one.x), one.numbers[name]) for one in curve.points if name in one.numbers]
                axes.errorbar(
                    [x for x, _ in there],
                    [spread.mean for _, spread in there],
                    yerr=[spread.std or 0.0 for _, spread in there],
                    color=colour(index),
                    marker=marker(index),
                    linestyle=line(index),
                    capsize=2.5,
                    label=curve.family or "runs",
                )
            if numeric:
                stretch(axes, [place(point.x) for point in points])
            else:
                axes.set_xticks(range(len(order)), order, rotation=30)
            axes.set_xlabel(read.x)
            axes.set_ylabel(label)
            axes.grid(visible=True)
        if points:
            grid[0][0].legend()
        caption(figure, f"Last snapshots, {read.latents} latents. Bars: standard deviation over the runs of a point.")
    return figure
