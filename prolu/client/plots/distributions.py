"""Distributions of biases drawn into one panel: over training, or at the end for each level of sparsity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, TypeVar

from prolu.client.levels import in_words, value_of
from prolu.client.plots.style import PALETTE, shade
from prolu.client.wire import BiasSnapshotRead, SparsityLevel
from prolu.spec.binning import rebin
from prolu.spec.report import BiasPopulation, BiasStatistics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Population = Literal["all", "alive", "dead"]
One = TypeVar("One")

BINS = 56  # fewer than a snapshot's own, or the difference shows as stripes
BIAS_AXIS = "gate bias b (units of m)"
CAPTION = (
    "b: a latent can fire iff m + b > 0, where m is the projection of the normalised activation without the bias.\n"
    "The range shown holds the middle 98 % of the biases."
)


def population_of(statistics: BiasStatistics, population: Population) -> BiasPopulation:
    """The latents that are meant."""
    return {"all": statistics.all, "alive": statistics.alive, "dead": statistics.dead}[population]


def named(population: Population) -> str:
    """` (alive latents)`, or nothing for all."""
    return "" if population == "all" else f" ({population} latents)"


def by_level(ones: Sequence[tuple[SparsityLevel | None, One]]) -> dict[SparsityLevel | None, list[One]]:
    """What belongs to each level, the lowest first: repetitions over seeds share one."""
    found: dict[SparsityLevel | None, list[One]] = {}
    for level, one in sorted(ones, key=lambda pair: value_of(pair[0])):
        found.setdefault(level, []).append(one)
    return found


def draw_over_training(
    axes: Axes, snapshots: Sequence[BiasSnapshotRead], edges: Sequence[float], population: Population
) -> None:
    """A column of shades per snapshot (each column its own density), with the median and the 5 to 95 % band."""
    from matplotlib.colors import PowerNorm

    steps = [snapshot.step for snapshot in snapshots]
    populations = [population_of(snapshot.statistics, population) for snapshot in snapshots]
    shares = []
    for one in populations:
        counts = rebin(one.bias, edges)
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
        quantiles = [one.bias.quantiles.get(probability) for one in populations]
        axes.plot(steps, quantiles, color=PALETTE[1], linewidth=1.3, linestyle=style, label=label)  # type: ignore[arg-type]
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xlabel("optimizer step")
    axes.set_ylabel(BIAS_AXIS)
    axes.legend(loc="lower left", ncols=2)


def draw_levels(
    axes: Axes, levels: Mapping[SparsityLevel | None, Sequence[BiasPopulation]], edges: Sequence[float]
) -> None:
    """One histogram per level, of all its repetitions together, with their mean share below zero."""
    width = edges[1] - edges[0]
    peak = 0.0
    for index, (level, populations) in enumerate(levels.items()):
        counts = [sum(bins) for bins in zip(*(rebin(one.bias, edges) for one in populations), strict=True)]
        total = sum(counts) or 1.0
        density = [100 * count / total for count in counts]
        peak = max(peak, *density)
        known = [one.fraction_negative for one in populations if one.fraction_negative is not None]
        negative = f"{100 * sum(known) / len(known):.1f} % below 0" if known else ""
        label = ": ".join(part for part in (in_words(level), negative) if part)
        axes.stairs(density, edges, color=shade(index, len(levels)), linewidth=1.4, label=label)
        axes.stairs(density, edges, color=shade(index, len(levels)), fill=True, alpha=0.15)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel(BIAS_AXIS)
    axes.set_ylabel(f"% of latents per {width:.2g}")
    axes.locator_params(axis="x", nbins=5)
    axes.set_ylim(0, (peak or 1.0) * (1.15 + 0.13 * len(levels)))  # room for the legend above the curves
    axes.legend(loc="upper left", fontsize=8.5)


def _borders(steps: Sequence[int]) -> list[float]:
    """Borders half-way between steps, for columns that stand at their steps."""
    if len(steps) == 1:
        return [steps[0] - 0.5, steps[0] + 0.5]
    middles = [(left + right) / 2 for left, right in pairwise(steps)]
    return [steps[0] - (middles[0] - steps[0]), *middles, steps[-1] + (steps[-1] - middles[-1])]
