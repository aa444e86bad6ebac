"""What all pictures share: colours, markers, type, the way to matplotlib, and the way into a file."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from prolu.client.records import MissingPackage

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ENDINGS = (".png", ".pdf", ".svg")

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_LINES = ("-", "--", ":", "-.")
_WIDE_RANGE = 4.0
STYLE = {
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
CAPTION_COLOUR = "#444444"
_CAPTION_POINTS = 9
# Of a letter, as a share of the size of the type: a little more than the mean, so that a full line still fits.
LETTER_WIDTH = 0.58


def pyplot() -> Any:
    """matplotlib.pyplot, drawing into files alone. Raises MissingPackage."""
    try:
        import matplotlib as mpl
    except ModuleNotFoundError:
        raise MissingPackage(
            "Pictures need matplotlib, which is not installed; run pip install 'prolu[demo]'."
        ) from None
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def colour(index: int) -> str:
    """Colour of the variant with this index; after seven they begin again, with another marker and line."""
    return PALETTE[index % len(PALETTE)]


def marker(index: int) -> str:
    """Marker of the variant with this index; after seven, colour and marker pair up differently."""
    return MARKERS[(index + index // len(PALETTE)) % len(MARKERS)]


def line(index: int) -> str:
    """Style of the line of the variant with this index."""
    return _LINES[index // len(PALETTE) % len(_LINES)]


def shade(index: int, count: int) -> Any:
    """Colour of one of `count` ordered levels."""
    import matplotlib as mpl

    return mpl.colormaps["viridis"](0.05 + 0.8 * index / max(1, count - 1))


def stretch(axes: Axes, values: Sequence[float], *, axis: Literal["x", "y"] = "x") -> None:
    """Take a logarithmic axis with plain numbers, if positive values span more than a factor of four; else few ticks."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    if not values or min(values) <= 0 or max(values) <= _WIDE_RANGE * min(values):
        axes.locator_params(axis=axis, nbins=6)
        return
    axes.set_xscale("log") if axis == "x" else axes.set_yscale("log")
    ticks = axes.xaxis if axis == "x" else axes.yaxis
    many = max(values) > 300 * min(values)
    ticks.set_major_locator(LogLocator(subs=(1,) if many else (1, 2, 5)))
    ticks.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:g}"))
    ticks.set_minor_formatter(NullFormatter())


def caption(figure: Figure, text: str) -> None:
    """Write a caption under the figure, each of its lines broken so that it fits the width."""
    letters = int(figure.get_figwidth() * 72 / (_CAPTION_POINTS * LETTER_WIDTH))
    lines = [part for line in text.split("\n") for part in textwrap.wrap(line, letters)]
    figure.supxlabel("\n".join(lines), fontsize=_CAPTION_POINTS, color=CAPTION_COLOUR)


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure and let go of it; the file's ending, one of `ENDINGS`, says what kind. Raises ValueError for another."""
    import matplotlib.pyplot as plt

    with warnings.catch_warnings():
        # On a busy machine matplotlib warns that it took a second to find the legend a place; nobody can act on that.
        warnings.filterwarnings("ignore", message="Creating legend with loc", category=UserWarning)
        figure.savefig(path, dpi=150)
    plt.close(figure)
