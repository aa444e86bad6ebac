"""The values of a grid's dimension, as a person would write them: 0.0006, not 0.0006000000000000001.

Series are counted out in decimals from the numbers as they were written, and rounded once. Knows no SQL and no HTTP.
"""

from __future__ import annotations

from decimal import Context, Decimal
from typing import Any

from prolu.spec import Geometric, Range, Values

SIGNIFICANT_DIGITS = 6
_EXACT = Context(prec=60)
_SHORT = Context(prec=SIGNIFICANT_DIGITS)
# Far more than rounding in 60 digits leaves, far less than what distinguishes numbers that people write.
_NEARLY = Decimal("1e-30")


def values_of(dimension: list[Any] | Values | Geometric | Range) -> list[Any]:
    """Give the values of a dimension in order.

    A series of whole numbers stays whole: 256, 512, 1024. Any other value of a geometric series has 6 significant digits, but
    for `start` and `stop`, which are as written.
    """
    match dimension:
        case Values():
            return list(dimension.values)
        case Geometric():
            return _geometric(dimension)
        case Range():
            return _range(dimension)
    return list(dimension)


def round_to(value: float, digits: int = SIGNIFICANT_DIGITS) -> float:
    """Round to so many significant digits, as the shortest float that reads so."""
    return float(f"{value:.{digits - 1}e}")


def _geometric(series: Geometric) -> list[Any]:
    start = _decimal(series.start)
    if series.factor is not None:
        factor, written = _decimal(series.factor), {0: series.start}
    else:
        steps = Decimal(series.count - 1)
        stop = _decimal(series.stop or series.start)
        logarithm = _EXACT.ln(_EXACT.divide(stop, start))
        factor, written = _EXACT.exp(_EXACT.divide(logarithm, steps)), {0: series.start, series.count - 1: series.stop}
    whole = all(isinstance(number, int) for number in written.values())
    exact = (_EXACT.multiply(start, _EXACT.power(factor, index)) for index in range(series.count))
    return [written.get(index, _shortly(value, whole=whole)) for index, value in enumerate(exact)]


def _range(series: Range) -> list[Any]:
    start, stop, step = _decimal(series.start), _decimal(series.stop), _decimal(series.step)
    whole = isinstance(series.start, int) and isinstance(series.step, int)
    count = int(_EXACT.divide(stop - start, step)) + 1
    exact = (_EXACT.add(start, _EXACT.multiply(step, Decimal(index))) for index in range(count))
    return [int(value) if whole else float(value) for value in exact]


def _shortly(value: Decimal, *, whole: bool) -> int | float:
    nearest = value.to_integral_value()
    if whole and abs(value - nearest) <= _NEARLY * value:
        return int(nearest)
    return float(_SHORT.plus(value))


def _decimal(number: float) -> Decimal:
    return Decimal(repr(number))
