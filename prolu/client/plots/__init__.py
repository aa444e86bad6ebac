"""Pictures of what runs and sweeps found, with matplotlib, which the light client does without until one is drawn.

    bias_figure        per variant: biases over training at its lowest and highest level, and at the end for each
    run_bias_figure    one run: biases over training, alive and dead at the end, against firing frequency, and their change
    bias_curve_figure  biases against any field, a line per family
    level_figure       a sweep: share of negative biases, quantiles and slack against the level, and histograms
    frontier_figure    L0 against CE loss score and FVU, a Pareto line per variant, error bars over seeds
    pareto_figure      any two numbers against each other, a Pareto line per family
    series_figure      metrics of several runs over their steps, a panel per metric
    alignment_figure   where the updates of gradient estimators point, by group of parameters

A level is what decides how sparse a run becomes (`prolu.client.levels`). Colours are Okabe and Ito's, which colour-blind
people tell apart; those of levels are viridis, which also greys well.
"""

from prolu.client.plots.alignment import alignment_figure
from prolu.client.plots.bias_curves import bias_curve_figure
from prolu.client.plots.biases import BiasSeries, bias_figure, biases_of_run, biases_of_sweep
from prolu.client.plots.frontier import frontier_figure
from prolu.client.plots.pareto import pareto_figure
from prolu.client.plots.run_biases import run_bias_figure
from prolu.client.plots.series import series_figure
from prolu.client.plots.style import ENDINGS, save
from prolu.client.plots.sweep_biases import level_figure

__all__ = [
    "ENDINGS",
    "BiasSeries",
    "alignment_figure",
    "bias_curve_figure",
    "bias_figure",
    "biases_of_run",
    "biases_of_sweep",
    "frontier_figure",
    "level_figure",
    "pareto_figure",
    "run_bias_figure",
    "save",
    "series_figure",
]
