"""The value of a draw, for ever: it follows from seed, number and path, and from no other draw.

    word  = the first 8 bytes of sha256(canonical JSON of [seed, number, path]), as a big-endian integer
    share = (word >> 11) / 2^53, in [0, 1)

    uniform      low + share * (high - low)                               to 6 significant digits, within [low, high]
    log_uniform  exp(ln low + share * (ln high - ln low))                 to 6 significant digits, within [low, high]
    integer      low + step * floor(share * ((high - low) / step + 1))
    choice       values[floor(share * len(values))]

So more draws leave those before them as they are, and so does one more path. Draws that repeat an earlier one are passed
over by who asks for them (`dimensions`). Knows no SQL and no HTTP.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

from prolu.spec import Choice, Distribution, IntegerBetween, LogUniform, Uniform, canonical_json
from service.domain.expansion.series import round_to


def draw(distribution: Distribution, *, seed: int, number: int, path: str) -> Any:
    """Give the value at `path` of the draw of this number."""
    share = _share(seed, number, path)
    match distribution:
        case Uniform(low=low, high=high):
            return _within(low, low + share * (high - low), high)
        case LogUniform(low=low, high=high):
            return _within(low, math.exp(math.log(low) + share * (math.log(high) - math.log(low))), high)
        case IntegerBetween(low=low, high=high, step=step):
            return low + step * int(share * ((high - low) // step + 1))
        case Choice(values=values):
            return values[int(share * len(values))]


def _within(low: float, value: float, high: float) -> float:
    return float(min(max(low, round_to(value)), high))


def _share(seed: int, number: int, path: str) -> float:
    word = int.from_bytes(hashlib.sha256(canonical_json([seed, number, path]).encode()).digest()[:8], "big")
    return (word >> 11) / 2**53
