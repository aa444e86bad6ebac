"""Pictures of characters: points of several series on a canvas with axes. Pure Python, for terminals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

MARKS = "ox+*#@%&=~"
_WIDE_RANGE = 4.0

Points = Sequence[tuple[float, float]]


def scatter(series: Mapping[str, Points], *, width: int = 64, height: int = 18, x: str, y: str) -> list[str]:
    """Draw every series with a mark of its own, under the names of the axes and above a line that says which mark is whose.

    An axis is logarithmic if its values are positive and span more than a factor of four. Where two series meet stands `?`.
    Of no point at all there is no picture: an empty list. Numbers must be finite.
    """
    everything = [point for points in series.values() for point in points]
    if not everything:
        return []
    across = _Scale.of([point[0] for point in everything], width)
    upward = _Scale.of([point[1] for point in everything], height)
    canvas = [[" "] * width for _ in range(height)]
    for index, points in enumerate(series.values()):
        mark = MARKS[index % len(MARKS)]
        for one in points:
            row, column = height - 1 - upward.cell(one[1]), across.cell(one[0])
            canvas[row][column] = mark if canvas[row][column] in (" ", mark) else "?"
    labels = [upward.label(height - 1), *[""] * (height - 2), upward.label(0)]
    margin = max(map(len, labels))
    low, high = across.label(0), across.label(width - 1)
    lines = [f"{'':>{margin}} {y}{upward.said}"]
    lines += [f"{label:>{margin}} │{''.join(row)}".rstrip() for label, row in zip(labels, canvas, strict=True)]
    lines += [
        f"{'':>{margin}} └{'─' * width}",
        f"{'':>{margin}}  {low}{f'{x}{across.said}':^{max(0, width - len(low) - len(high))}}{high}",
    ]
    lines += [f"{'':>{margin}}  {MARKS[index % len(MARKS)]} {name}" for index, name in enumerate(series)]
    return lines


class _Scale:
    """Values onto so many cells, evenly, or evenly in their logarithm."""

    def __init__(self, low: float, high: float, cells: int, *, is_log: bool) -> None:
        self._low, self._high, self._cells, self._is_log = low, high, cells, is_log
        self.said = " (log)" if is_log else ""

    @classmethod
    def of(cls, values: Sequence[float], cells: int) -> _Scale:
        low, high = min(values), max(values)
        is_log = low > 0 and high > _WIDE_RANGE * low
        if low == high:
            margin = abs(low) * 0.05 or 1.0
            low, high = low - margin, high + margin
        return cls(low, high, cells, is_log=is_log)

    def cell(self, value: float) -> int:
        low, high, here = (self._bent(one) for one in (self._low, self._high, value))
        return min(self._cells - 1, max(0, round((here - low) / (high - low) * (self._cells - 1))))

    def label(self, cell: int) -> str:
        return f"{self._low if cell == 0 else self._high:.3g}"

    def _bent(self, value: float) -> float:
        return math.log(value) if self._is_log else value
