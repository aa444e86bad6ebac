"""Where specs differ, and numbers side by side. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prolu.client.wire import MetricComparison, SpecDifference

_LABELS = ("name",)


def spec_differences(specs: Sequence[Mapping[str, Any]]) -> list[SpecDifference]:
    """Every place whose values are not all equal, by path, in the order of appearance; lists are compared whole."""
    flat = [dict(_leaves(spec, "")) for spec in specs]
    paths = [path for path in dict.fromkeys(path for one in flat for path in one) if path not in _LABELS]
    found = []
    for path in paths:
        values = [one.get(path) for one in flat]
        # A place that is missing is not one that is null.
        everywhere = all(path in one for one in flat)
        if not everywhere or any(value != values[0] for value in values):
            found.append(SpecDifference(path=f"spec.{path}", values=values))
    return found


def compared(numbers: Sequence[Mapping[str, float]]) -> list[MetricComparison]:
    """Every number that any run has, in the order of appearance, each minus that of the first run."""
    found = []
    for path in dict.fromkeys(name for one in numbers for name in one):
        values = [one.get(path) for one in numbers]
        first = values[0]
        differences = [None if value is None or first is None else value - first for value in values]
        found.append(MetricComparison(path=path, values=values, differences=differences))
    return found


def _leaves(document: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in document.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
