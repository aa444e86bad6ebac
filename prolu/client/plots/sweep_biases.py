"""How the biases of a sweep's runs depend on the level of sparsity: share below zero, quantiles, slack, and histograms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prolu.client.levels import axis_label
from prolu.client.plots.distributions import (
    BIAS_AXIS,
    BINS,
    CAPTION,
    Population,
    by_level,
    draw_levels,
    named,
    population_of,
)
from prolu.client.plots.style import STYLE, caption, colour, line, marker, pyplot, stretch
from prolu.client.wire import SparsityLevel, SweepBiasRead
from prolu.spec.binning import common_edges
from prolu.spec.report import BiasPopulation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 3
_MOST_LEGENDS = 8  # beside each other
_DODGE = 0.02  # of the range of levels, so that bars of variants stand beside each other
_PERCENT = 100
_QUANTILES = ("0.05", "0.5", "0.95")
_SEEDS = "Lines: mean over seeds; bars: their range; bars of quantiles: 5 to 95 % of latents."


def level_figure(rows: Sequence[SweepBiasRead], *, population: Population = "all") -> Figure:
    """Draw a row of three panels for each kind of level, and below a panel of histograms for each variant.

    Raises MissingPackage without matplotlib, ValueError without a row.
    """
    if not rows:
        raise ValueError("There are no bias statistics to draw; wait until a run of the sweep trains.")
    plt = pyplot()
    figure: Figure
    ones = [_One(row.variant or "runs", row.level, population_of(row.statistics, population)) for row in rows]
    variants = list(dict.fromkeys(one.variant for one in ones))
    kinds = list(dict.fromkeys(one.level.kind for one in ones if one.level is not None))
    lines = len(kinds) + -(-len(variants) // _COLUMNS)
    with plt.rc_context(STYLE):
        size = (4.7 * _COLUMNS, 3.2 * lines + 1.3)
        figure, grid = plt.subplots(lines, _COLUMNS, figsize=size, squeeze=False, layout="constrained")
        for kind, places in zip(kinds, grid, strict=False):
            _draw_kind(places, [one for one in ones if one.level is not None and one.level.kind == kind], variants)
        below = [axes for row in grid[len(kinds) :] for axes in row]
        for axes in below[len(variants) :]:
            axes.set_visible(False)
        for variant, axes in zip(variants, below, strict=False):
            mine = [one for one in ones if one.variant == variant]
            edges = common_edges((one.biases.bias for one in mine), bins=BINS, trim=True)
            draw_levels(axes, by_level([(one.level, one.biases) for one in mine]), edges)
            axes.set_title(f"{variant}, last snapshots")
        _add_legend(figure, grid[: len(kinds), 0], f"Biases{named(population)} by sparsity")
        caption(figure, f"{_SEEDS} {CAPTION}")
    return figure


@dataclass(frozen=True)
class _One:
    variant: str
    level: SparsityLevel | None
    biases: BiasPopulation


def _add_legend(figure: Figure, places: Sequence[Axes], title: str) -> None:
    """One legend for all panels with lines, under the title; the title alone where there are none."""
    handles = {
        label: handle for axes in places for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    if not handles:
        figure.suptitle(title, fontsize=13)
        return
    columns = min(len(handles), _MOST_LEGENDS)
    labels = [*handles]
    figure.legend(
        [*handles.values()], labels, loc="outside upper center", ncols=columns, title=title, title_fontsize=13
    )


def _draw_kind(places: Sequence[Axes], ones: Sequence[_One], variants: Sequence[str]) -> None:
    """Draw the runs whose levels are of one kind, so that they share an axis."""
    negative, quantiles, slack = places
    values = [one.level.value for one in ones if one.level is not None]
    for index, variant in enumerate(variants):
        mine = by_level([(one.level, one.biases) for one in ones if one.variant == variant])
        if not mine:
            continue
        _draw_share(negative, mine, lambda one: one.fraction_negative, index, variant)
        _draw_quantiles(quantiles, mine, index, variant, _dodge(index, len(variants), values))
        _draw_share(slack, mine, lambda one: one.fraction_positive, index, variant)
    for axes, title, label in (
        (negative, "Biases below zero", "% of latents with b < 0"),
        (quantiles, "Median, and 5 to 95 % of latents", BIAS_AXIS),
        (slack, "Slack: b > 0, which gates as 0 does", "% of latents with b > 0"),
    ):
        axes.set_title(title)
        axes.set_ylabel(label)
        stretch(axes, values)
        axes.grid(visible=True)
        if ones[0].level is not None:
            axes.set_xlabel(axis_label(ones[0].level))
    quantiles.axhline(0, color="black", linewidth=0.8)
    slack.set_ylim(bottom=0)


def _draw_share(
    axes: Axes,
    levels: dict[SparsityLevel | None, list[BiasPopulation]],
    share: Callable[[BiasPopulation], float | None],
    index: int,
    variant: str,
) -> None:
    """The mean share over repetitions, with their range."""
    known = {
        level.value: [_PERCENT * value for value in map(share, ones) if value is not None]
        for level, ones in levels.items()
        if level is not None
    }
    found = [(value, shares) for value, shares in known.items() if shares]
    means = [sum(shares) / len(shares) for _, shares in found]
    below = [mean - min(shares) for mean, (_, shares) in zip(means, found, strict=True)]
    above = [max(shares) - mean for mean, (_, shares) in zip(means, found, strict=True)]
    axes.errorbar(
        [value for value, _ in found],
        means,
        yerr=[below, above],
        color=colour(index),
        marker=marker(index),
        linestyle=line(index),
        linewidth=1.4,
        capsize=2.5,
        label=variant,
    )


def _draw_quantiles(
    axes: Axes,
    levels: dict[SparsityLevel | None, list[BiasPopulation]],
    index: int,
    variant: str,
    shift: Callable[[float], float],
) -> None:
    found = [
        (shift(level.value), spread)
        for level, ones in levels.items()
        if level is not None and len(spread := _spread(ones)) == len(_QUANTILES)
    ]
    axes.errorbar(
        [value for value, _ in found],
        [middle for _, (_, middle, _) in found],
        yerr=[
            [middle - low for _, (low, middle, _) in found],
            [high - middle for _, (_, middle, high) in found],
        ],
        color=colour(index),
        marker=marker(index),
        linestyle=line(index),
        linewidth=1.4,
        elinewidth=1.0,
        capsize=2.5,
        label=variant,
    )


def _spread(ones: Sequence[BiasPopulation]) -> list[float]:
    """Low, middle and high quantile, each the mean over repetitions; fewer of latents that there are none of."""
    known = [one.bias.quantiles for one in ones if set(_QUANTILES) <= one.bias.quantiles.keys()]
    return [sum(each[probability] for each in known) / len(known) for probability in _QUANTILES] if known else []


def _dodge(index: int, count: int, values: Sequence[float]) -> Callable[[float], float]:
    """Move a variant's bars aside by a share of the range: as a factor, for the axis is mostly logarithmic."""
    low, high = min(values), max(values)
    ratio = (high / low) if low > 0 else 1.0
    factor = ratio ** (_DODGE * (index - (count - 1) / 2))
    return lambda value: value * factor
