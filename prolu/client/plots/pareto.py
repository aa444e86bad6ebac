"""Any two numbers against each other: the Pareto frontier of each family, as the service found it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from prolu.client.plots.style import STYLE, caption, colour, line, marker, pyplot, stretch
from prolu.client.wire import FrontierPoint, FrontierRead, SeedEstimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CAPTION = "Lines: Pareto frontier of each family; hollow: bettered by another point of its family."
_BARS = "Bars: 95 % bootstrap interval over seeds, too narrow for few: of 2 or 3 it is only their range."


def pareto_figure(read: FrontierRead) -> Figure:
    """Draw one number against the other: a line for each family, with what it betters if that came along.

    Raises MissingPackage without matplotlib.
    """
    plt = pyplot()
    figure: Figure
    points = [point for family in read.families for point in family.points]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(7.2, 5.4), layout="constrained")
        for index, family in enumerate(read.families):
            _draw(axes, index, family.family or "runs", family.points)
        for axis, name in ((axes.xaxis, read.x), (axes.yaxis, read.y)):
            axis.set_label_text(f"{name.path} ({name.goal} is better)")
        stretch(axes, [point.x for point in points])
        stretch(axes, [point.y for point in points], axis="y")
        axes.grid(visible=True)
        if points:
            axes.legend(title=None if read.by in ("family", "none") else read.by)
        barred = any(point.x_estimate is not None and point.x_estimate.interval for point in points)
        caption(figure, "\n".join([_CAPTION, *([_BARS] if barred else [])]))
    return figure


def _draw(axes: Axes, index: int, label: str, points: Sequence[FrontierPoint]) -> None:
    look: dict[str, Any] = {"marker": marker(index), "color": colour(index)}
    on_it = [point for point in points if not point.dominated]
    off_it = [point for point in points if point.dominated]
    axes.plot([one.x for one in on_it], [one.y for one in on_it], linestyle=line(index), label=label, **look)
    axes.plot([one.x for one in off_it], [one.y for one in off_it], linestyle="none", markerfacecolor="white", **look)
    for one in points:
        x, y = _reach(one.x, one.x_estimate), _reach(one.y, one.y_estimate)
        if x or y:
            axes.errorbar(one.x, one.y, xerr=x, yerr=y, fmt="none", ecolor=colour(index), capsize=2.5, alpha=0.8)


def _reach(value: float, estimate: SeedEstimate | None) -> list[list[float]] | None:
    if estimate is None or estimate.interval is None:
        return None
    low, high = estimate.interval
    return [[max(0.0, value - low)], [max(0.0, high - value)]]
