"""L0 against how well the language model still predicts, and against the variance left unexplained: the Pareto frontier."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prolu.client.levels import in_words, symbol, value_of
from prolu.client.plots.style import LETTER_WIDTH, STYLE, caption, colour, line, marker, pyplot, stretch
from prolu.client.wire import ResultRow, SeedEstimate, SeedGroupRead, SparsityLevel
from prolu.spec.pareto import pareto

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# In points of type, where labels stand beside a line: (away from the better side, towards it).
_BESIDE_FALLING = ((9, 9), (-9, -9))
_BESIDE_RISING = ((9, -9), (-9, 9))
_LABEL_POINTS = 8.5
_MOST_LABELS = 12
_CAPTION = "Held-out data. Lines: Pareto frontier of each variant; hollow: bettered by another of its runs."
_BARS = "Bars: 95 % bootstrap interval over seeds, too narrow for few: of 2 or 3 it is only their range."


@dataclass(frozen=True)
class Measured:
    """One number of a run, or of a group of runs with what is known of its error."""

    mean: float
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class _Panel:
    metric: str
    label: str
    higher_is_better: bool

    @property
    def title(self) -> str:
        return f"L0 against {self.label.partition(':')[0]} ({'up' if self.higher_is_better else 'down'} and left is better)"


_PANELS = (
    _Panel("ce_loss_score", "CE loss score: share of the model's loss that the SAE recovers", True),
    _Panel("fvu", "FVU: fraction of variance unexplained", False),
)


@dataclass(frozen=True)
class _Point:
    level: SparsityLevel | None
    l0: Measured
    other: Measured


def frontier_figure(rows: Iterable[ResultRow | SeedGroupRead]) -> Figure:
    """Draw L0 against the CE loss score, where it was measured, and against FVU: one point per run or group of seeds.

    Lines join the points of a variant that no other of it betters in both; the rest are hollow. Bars are the intervals over
    seeds. Raises MissingPackage without matplotlib.
    """
    plt = pyplot()
    figure: Figure
    drawn = [(row.variant or "runs", row.level, _numbers(row.metrics)) for row in rows]
    variants = list(dict.fromkeys(variant for variant, _, _ in drawn))
    panels = [panel for panel in _PANELS if any(panel.metric in numbers for _, _, numbers in drawn)] or [_PANELS[1]]
    with plt.rc_context(STYLE):
        size = (6.6 * len(panels) + 0.6, 5.4)
        figure, grid = plt.subplots(1, len(panels), figsize=size, squeeze=False, layout="constrained")
        for axes, panel in zip(grid[0], panels, strict=True):
            points = {
                name: [
                    _Point(level, numbers["l0"], numbers[panel.metric])
                    for variant, level, numbers in drawn
                    if variant == name and "l0" in numbers and panel.metric in numbers
                ]
                for name in variants
            }
            _draw(axes, panel, {name: found for name, found in points.items() if found})
        barred = any(one.interval for _, _, numbers in drawn for one in numbers.values())
        notes = [_CAPTION, *([_BARS] if barred else [])]
        caption(figure, "\n".join(notes))
    return figure


def _numbers(metrics: Mapping[str, float] | Mapping[str, SeedEstimate]) -> dict[str, Measured]:
    return {
        name: Measured(value.mean, value.interval) if isinstance(value, SeedEstimate) else Measured(value)
        for name, value in metrics.items()
    }


def _draw(axes: Axes, panel: _Panel, points: Mapping[str, Sequence[_Point]]) -> None:
    labelled = sum(map(len, points.values())) <= _MOST_LABELS
    sides = _sides(panel, points)
    for index, (variant, found) in enumerate(points.items()):
        on_it = pareto(
            [(one.l0.mean, one.other.mean) for one in found], y="higher" if panel.higher_is_better else "lower"
        )
        _draw_bars(axes, found, colour(index))
        axes.plot(
            [found[place].l0.mean for place in on_it],
            [found[place].other.mean for place in on_it],
            marker=marker(index),
            markersize=7,
            linewidth=1.4,
            linestyle=line(index),
            color=colour(index),
            label=variant if labelled else f"{variant}{_range(found)}",
        )
        off_it = [one for place, one in enumerate(found) if place not in on_it]
        if off_it:
            axes.plot(
                [one.l0.mean for one in off_it],
                [one.other.mean for one in off_it],
                marker=marker(index),
                markersize=6,
                linestyle="none",
                markerfacecolor="white",
                color=colour(index),
            )
        if labelled:
            _label(axes, found, colour(index), sides[variant])
    axes.set_xlabel("L0: mean number of active latents per token")
    axes.set_ylabel(panel.label)
    axes.set_title(panel.title)
    stretch(axes, [one.l0.mean for found in points.values() for one in found])
    axes.margins(x=_room_beside(axes, points) if labelled else 0.06, y=0.1)
    axes.grid(visible=True)
    if points:
        axes.legend(title="variant")


def _draw_bars(axes: Axes, points: Sequence[_Point], shade: str) -> None:
    for one in points:
        bars: dict[str, Any] = {}
        for name, measured in (("xerr", one.l0), ("yerr", one.other)):
            if measured.interval is not None:
                low, high = measured.interval
                bars[name] = [[max(0.0, measured.mean - low)], [max(0.0, high - measured.mean)]]
        if bars:
            axes.errorbar(
                one.l0.mean, one.other.mean, **bars, fmt="none", ecolor=shade, elinewidth=1.1, capsize=2.5, alpha=0.8
            )


def _sides(panel: _Panel, points: Mapping[str, Sequence[_Point]]) -> dict[str, tuple[int, int]]:
    """On which side of its line each variant is labelled: the better half of the variants on the better side."""

    def cost(found: Sequence[_Point]) -> float:
        l0 = sum(math.log(max(one.l0.mean, 1e-9)) for one in found) / len(found)
        other = sum(one.other.mean for one in found) / len(found)
        return l0 / spread_l0 + (-other if panel.higher_is_better else other) / spread_other

    everything = [one for found in points.values() for one in found]
    spread_l0 = _spread([math.log(max(one.l0.mean, 1e-9)) for one in everything])
    spread_other = _spread([one.other.mean for one in everything])
    beside = _BESIDE_RISING if panel.higher_is_better else _BESIDE_FALLING
    rising = sorted(points, key=lambda variant: cost(points[variant]))
    return {variant: beside[rank < len(rising) / 2] for rank, variant in enumerate(rising)}


def _spread(values: Sequence[float]) -> float:
    return (max(values) - min(values) or 1.0) if values else 1.0


def _label(axes: Axes, points: Sequence[_Point], shade: str, offset: tuple[int, int]) -> None:
    from matplotlib.patheffects import withStroke

    for one in points:
        if one.level is not None:
            axes.annotate(
                in_words(one.level),
                (one.l0.mean, one.other.mean),
                xytext=offset,
                textcoords="offset points",
                ha="left" if offset[0] > 0 else "right",
                va="center",
                fontsize=_LABEL_POINTS,
                color=shade,
                path_effects=[withStroke(linewidth=3, foreground="white")],
                zorder=5,
            )


def _room_beside(axes: Axes, points: Mapping[str, Sequence[_Point]]) -> float:
    """The margin, as a share of the span of the data, that leaves room for a label beside the outermost points."""
    longest = max((len(in_words(one.level)) for found in points.values() for one in found if one.level), default=0)
    label = (longest * _LABEL_POINTS * LETTER_WIDTH + 2 * abs(_BESIDE_RISING[0][0])) / (
        axes.bbox.width * 72 / axes.figure.dpi
    )
    return max(0.06, label / (1 - 2 * min(label, 0.4)))


def _range(points: Sequence[_Point]) -> str:
    """From which level to which the points of a variant go, where they are too many to be labelled."""
    levels = sorted((one.level for one in points if one.level is not None), key=value_of)
    if not levels or levels[0].value == levels[-1].value:
        return "" if not levels else f" ({in_words(levels[0])})"
    return f" ({symbol(levels[0])} {levels[0].value:.3g} to {levels[-1].value:.3g})"
