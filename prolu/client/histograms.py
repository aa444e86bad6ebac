"""Histograms drawn with characters."""

from __future__ import annotations

import math
from collections.abc import Sequence

_BLOCKS = " ▁▂▃▄▅▆▇█"
_BAR = "█"
_PARTS = " ▏▎▍▌▋▊▉"


def sparkline(counts: Sequence[float]) -> str:
    """One character per bin, its height the count's share of the largest; what is not empty is never blank."""
    peak = max(counts, default=0.0)
    if peak <= 0:
        return " " * len(counts)
    return "".join(_BLOCKS[math.ceil(8 * count / peak - 1e-9)] if count > 0 else " " for count in counts)


def bar(share: float, width: int) -> str:
    """A horizontal bar, `share` (0 to 1) of `width` characters long, to an eighth of a character."""
    eighths = round(share * width * 8)
    return (_BAR * (eighths // 8) + _PARTS[eighths % 8]).rstrip()
