"""Biases of a sweep over training: at the lowest and the highest level of each variant, and at the end of all levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from prolu.client.client import Client
from prolu.client.levels import in_words, level_of, value_of
from prolu.client.plots.distributions import (
    BINS,
    CAPTION,
    Population,
    by_level,
    draw_levels,
    draw_over_training,
    named,
    population_of,
)
from prolu.client.plots.style import STYLE, caption, pyplot
from prolu.client.trained import counts
from prolu.client.wire import BiasSnapshotRead, SparsityLevel
from prolu.spec.binning import common_edges

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class BiasSeries:
    """The bias statistics of one run over training."""

    variant: str
    level: SparsityLevel | None
    snapshots: Sequence[BiasSnapshotRead]


def biases_of_run(client: Client, run: UUID) -> BiasSeries:
    """Fetch what `bias_figure` draws of one run."""
    found = client.runs.get(run)
    label = found.variant or found.name or str(found.id)[-8:]
    return BiasSeries(label, level_of(found.spec), client.runs.biases(run))


def biases_of_sweep(client: Client, sweep: UUID) -> list[BiasSeries]:
    """Fetch what `bias_figure` draws of each run of a sweep that counts, in the order of its points."""
    runs = [(run.state, biases_of_run(client, run.id)) for run in client.sweeps.runs(sweep)]
    return [one for state, one in runs if one.snapshots and counts(state, one.snapshots[-1].step)]


def bias_figure(series: Sequence[BiasSeries], *, population: Population = "all") -> Figure:
    """Draw the biases: one row per variant, over training on the left, at the end by level on the right.

    Of repetitions over seeds the first is drawn over training. Raises MissingPackage without matplotlib.
    """
    plt = pyplot()
    figure: Figure
    drawn = [one for one in series if one.snapshots]
    rows = [
        sorted((one for one in drawn if one.variant == name), key=lambda one: value_of(one.level))
        for name in dict.fromkeys(one.variant for one in drawn)
    ]
    levels = [by_level([(one.level, one) for one in row]) for row in rows]
    ends = [_first_and_last([ones[0] for ones in found.values()]) for found in levels]
    columns = max(map(len, ends))
    with plt.rc_context(STYLE):
        size = (4.3 * columns + 4.6, 2.75 * len(rows) + 0.9)
        figure, grid = plt.subplots(len(rows), columns + 1, figsize=size, squeeze=False, layout="constrained")
        for axes, row, found, shown in zip(grid, rows, levels, ends, strict=True):
            biases = [population_of(snapshot.statistics, population).bias for one in row for snapshot in one.snapshots]
            edges = common_edges(biases, bins=BINS, trim=True)
            for place, one in zip(axes, shown, strict=False):
                draw_over_training(place, one.snapshots, edges, population)
                place.set_title(", ".join(part for part in (one.variant, in_words(one.level)) if part))
            for place in axes[len(shown) : columns]:
                place.set_visible(False)
            last = {
                level: [population_of(one.snapshots[-1].statistics, population) for one in ones]
                for level, ones in found.items()
            }
            draw_levels(axes[-1], last, edges)
            steps = {one.snapshots[-1].step for one in row}
            axes[-1].set_title(
                f"{row[0].variant}, " + (f"at step {steps.pop()}" if len(steps) == 1 else "last snapshots")
            )
        figure.suptitle(f"Biases{named(population)}: over training, and at the end by sparsity", fontsize=13)
        caption(figure, f"Shade: density of latents, each column to its own peak. {CAPTION}")
    return figure


def _first_and_last(ones: Sequence[BiasSeries]) -> list[BiasSeries]:
    return [ones[0], ones[-1]] if len(ones) > 1 else [*ones]
