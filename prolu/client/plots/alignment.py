"""Where the updates of gradient estimators point: cosines with directions of descent, by group of parameters."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from prolu.client.plots.style import CAPTION_COLOUR, STYLE, caption, colour, line, marker, pyplot, stretch
from prolu.spec.report import Alignment

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Part = Literal["loss", "reconstruction", "penalty"]

_OBJECTIVES = {
    "l0": "descent of smoothed L0",
    "reconstruction": "descent of the reconstruction error",
    "l1": "descent of the L1 penalty",
}
PARTS: dict[str, str] = {
    "loss": "reconstruction + λ penalty",
    "reconstruction": "the reconstruction alone",
    "penalty": "the penalty alone",
}
_CAPTION = (
    "Cosine of an estimator's update with a direction of descent on the same batch: mean over {}, bars: standard error.\n"
    "1 points straight down, 0 is at a right angle, below 0 climbs."
)


def alignment_figure(alignments: Sequence[Alignment], *, part: Part = "loss", title: str = "") -> Figure:
    """Draw the updates of one part of the loss: a row of panels per group of parameters, a column per objective.

    What is smoothed is drawn against the bandwidth, what is exact as points. Raises MissingPackage without matplotlib,
    ValueError if there is no update of this part.
    """
    found = [one for one in alignments if one.part == part]
    if not found:
        raise ValueError(f"There is no update of {PARTS[part]} to draw; choose another part.")
    plt = pyplot()
    figure: Figure
    estimators = list(dict.fromkeys(one.estimator for one in found))
    groups = list(dict.fromkeys(one.group for one in found))
    objectives = [name for name in _OBJECTIVES if any(one.objective == name for one in found)]
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(
            len(groups),
            len(objectives),
            figsize=(4.4 * len(objectives) + 0.8, 2.3 * len(groups) + 1.7),
            sharey="row",
            squeeze=False,
            layout="constrained",
        )
        for group, row in zip(groups, grid, strict=True):
            for objective, axes in zip(objectives, row, strict=True):
                _draw(axes, [one for one in found if (one.group, one.objective) == (group, objective)], estimators)
            row[0].set_ylabel(f"{_group(group)}\ncosine")
        for objective, top in zip(objectives, grid[0], strict=True):
            top.set_title(_OBJECTIVES[objective])
        drawn = [axes.get_legend_handles_labels() for row in grid for axes in row]
        handles, labels = max(drawn, key=lambda pair: len(pair[1]))
        heading = ", ".join(text for text in (f"Updates of {PARTS[part]}", title) if text)
        columns = min(4, len(labels))
        figure.legend(handles, labels, loc="outside upper center", ncols=columns, title=heading, title_fontsize=13)
        caption(figure, _CAPTION.format(batches_of(found)))
    return figure


def batches_of(alignments: Sequence[Alignment]) -> str:
    """Over how many batches the cosines are means: `16 batches`, or `2 to 16 batches` where some directions are often zero."""
    counts = [one.cosine.n for one in alignments]
    fewest, most = min(counts), max(counts)
    if most == 1:
        return "1 batch"
    return f"{most} batches" if fewest == most else f"{fewest} to {most} batches"


def estimator_label(estimator: str) -> str:
    """Write an estimator's JSON for people: `ste`, `surrogate(rectangle, epsilon=0.05, form=product)`."""
    try:
        spec = json.loads(estimator)
        kind = spec.pop("kind")
    except (ValueError, KeyError, AttributeError):
        return estimator
    details = []
    for name, value in spec.items():
        if isinstance(value, dict):
            inner = dict(value)
            details.append(str(inner.pop("kind", name)))
            details += [f"{key}={_short(part)}" for key, part in inner.items()]
        else:
            details.append(f"{name}={_short(value)}")
    return f"{kind}({', '.join(details)})" if details else str(kind)


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _group(name: str) -> str:
    return "all parameters" if name == "all" else name


def _draw(axes: Axes, found: Sequence[Alignment], estimators: Sequence[str]) -> None:
    """Lines over bandwidths where there are any, else a point for each estimator."""
    if not found:
        axes.text(0.5, 0.5, "always zero", ha="center", transform=axes.transAxes, color=CAPTION_COLOUR)
        axes.set_xticks([])
        return
    smoothed = any(one.bandwidth is not None for one in found)
    for index, estimator in enumerate(estimators):
        mine = sorted((one for one in found if one.estimator == estimator), key=lambda one: one.bandwidth or 0.0)
        if not mine:
            continue
        axes.errorbar(
            [float(index) if one.bandwidth is None else one.bandwidth for one in mine],
            [one.cosine.mean for one in mine],
            yerr=[math.nan if one.cosine.standard_error is None else one.cosine.standard_error for one in mine],
            color=colour(index),
            marker=marker(index),
            markersize=6,
            linestyle=line(index) if smoothed else "none",
            linewidth=1.3,
            capsize=2.5,
            label=estimator_label(estimator),
        )
    axes.axhline(0, color="black", linewidth=0.8)
    axes.grid(visible=True, axis="y")
    if smoothed:
        stretch(axes, [one.bandwidth for one in found if one.bandwidth is not None])
        axes.set_xlabel("bandwidth of the smoothing (units of m + b)")
    else:
        axes.set_xticks([])
        axes.margins(x=0.15)
