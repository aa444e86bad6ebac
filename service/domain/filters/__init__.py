"""The filter language: what a run must be like to be listed, in which order, and what is shown of it.

    state = "succeeded" AND spec.sparsity.coefficient < 1e-3 AND (metrics.l0 <= 50 OR NOT metrics.ce_loss_score:*)

    columns      every path that there is, and what stands there: a number, a text, a time
    spec_paths   the same for `spec.`, walked out of the job language
    language     a text becomes a condition, by the `grammar` and the types of its columns (`literals`), within bounds
    conditions   the condition, as a tree with positions
    order        `metrics.fvu desc, name`
    selection    `id, metrics.*`
    mistakes     what is wrong with any of the three, and where

Comparisons are of three values, as in SQL: a run that lacks what is compared is neither in nor out, so that neither
`metrics.l0 < 50` nor `NOT metrics.l0 < 50` lists a run without an l0, and `a != b` is `NOT a = b`. AND is false if any side
is false, OR true if any side is true, and otherwise unknown if a side is; what is unknown in the end is not listed. Only
presence, `metrics.l0:*`, is always true or false. Knows no SQL: `service.store.filtering` compiles conditions.
"""

from service.domain.filters.columns import Column, Kind, column, columns
from service.domain.filters.conditions import (
    And,
    Comparison,
    Condition,
    Match,
    Membership,
    Not,
    Operator,
    Or,
    Presence,
    Value,
)
from service.domain.filters.language import parse
from service.domain.filters.mistakes import Misread
from service.domain.filters.order import Key, parse_order
from service.domain.filters.selection import select_columns

__all__ = [
    "And",
    "Column",
    "Comparison",
    "Condition",
    "Key",
    "Kind",
    "Match",
    "Membership",
    "Misread",
    "Not",
    "Operator",
    "Or",
    "Presence",
    "Value",
    "column",
    "columns",
    "parse",
    "parse_order",
    "select_columns",
]
