"""Metrics of several runs over their steps, a panel per metric."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from prolu.client.plots.style import STYLE, caption, colour, pyplot, stretch
from prolu.client.wire import SeriesRead

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CAPTION = "Solid: the whole evaluation set; dotted: one training batch each. Lines break where a value was not finite."
_MOST_LABELS = 12


def series_figure(read: SeriesRead) -> Figure:
    """Draw each metric over the steps, runs by colour. Raises MissingPackage without matplotlib."""
    plt = pyplot()
    figure: Figure
    names = list(dict.fromkeys(one.name for one in read.series)) or ["metric"]
    runs = list(dict.fromkeys(one.run_id for one in read.series))
    with plt.rc_context(STYLE):
        size = (6.6 * len(names) + 0.6, 4.8)
        figure, grid = plt.subplots(1, len(names), figsize=size, squeeze=False, layout="constrained")
        for axes, name in zip(grid[0], names, strict=True):
            drawn = [one for one in read.series if one.name == name]
            labelled: set[object] = set()
            for one in drawn:
                axes.plot(
                    one.steps,
                    [math.nan if value is None else value for value in one.values],
                    color=colour(runs.index(one.run_id)),
                    linestyle="-" if one.split == "held_out" else ":",
                    marker="." if len(one.steps) == 1 else None,
                    label=f"{one.run_name} {str(one.run_id)[-8:]}" if one.run_id not in labelled else None,
                )
                labelled.add(one.run_id)
            stretch(axes, [value for one in drawn for value in one.values if value is not None], axis="y")
            axes.set_xlabel("optimizer steps")
            axes.set_ylabel(name)
            axes.grid(visible=True)
            if labelled and len(runs) <= _MOST_LABELS:
                axes.legend()
        caption(figure, _CAPTION)
    return figure
