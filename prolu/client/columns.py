"""What tables of results show of the many things that are known of a run, and how numbers are written there."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from prolu.client.harmless import harmless
from prolu.client.wire import SeedEstimate

MAIN_METRICS = ("l0", "fvu", "ce_loss_score", "dead_fraction")
NEGATIVE = "fraction_negative"
INTERVAL = "95 % bootstrap interval, too narrow for few seeds: of 2 or 3 it is only their range"
_COLOURS = {"succeeded": "green", "failed": "red", "cancelled": "yellow", "running": "cyan"}


class Varied(Protocol):
    """A row that belongs to an alternative of a sweep and sets something."""

    @property
    def variant(self) -> str | None: ...

    @property
    def set(self) -> Mapping[str, Any]: ...


def shown_metrics(rows: Iterable[Mapping[str, object]], *, everything: bool) -> list[str]:
    """The main metrics that some row has, then, for `everything`, the others by name. Of no metrics at all: l0 and fvu."""
    known = {name for metrics in rows for name in metrics}
    main = [name for name in MAIN_METRICS if name in known]
    if not known:
        return list(MAIN_METRICS[:2])
    return [*main, *sorted(known.difference(main))] if everything else main


def shown_biases(rows: Iterable[Mapping[str, object]], *, everything: bool) -> list[str]:
    """The share of negative biases, then, for `everything`, the other numbers in the order they came."""
    if not everything:
        return [NEGATIVE]
    return list(dict.fromkeys([NEGATIVE, *(name for numbers in rows for name in numbers)]))


def heading(bias: str) -> str:
    """What stands over a number of the biases."""
    return "b < 0" if bias == NEGATIVE else f"{bias.removeprefix('fraction_')} b"


def telling_settings(rows: Sequence[Varied]) -> list[str]:
    """What was set to more than one value among the runs of one variant, or by a sweep without variants."""
    values: dict[tuple[str, str | None], set[str]] = {}
    for row in rows:
        for name, value in row.set.items():
            values.setdefault((name, row.variant), set()).add(json.dumps(value, sort_keys=True))
    telling = {name for (name, variant), seen in values.items() if variant is None or len(seen) > 1}
    return [name for name in dict.fromkeys(name for row in rows for name in row.set) if name in telling]


def setting_heading(path: str) -> str:
    """The last part of a path; of a `kind`, what kind it is too."""
    parts = path.split(".")
    return safe(".".join(parts[-2:]) if parts[-1] == "kind" else parts[-1])


def shown(value: Any) -> str:
    """A value with four significant digits, or a dash."""
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def percent(value: float | None) -> str:
    """A share of one in percent, or a dash."""
    return "-" if value is None else f"{100 * value:.1f} %"


def with_error(estimate: SeedEstimate | None) -> str:
    """`12.3 ± 0.4`, to two digits of the error; without an error where it is unknown; a dash for nothing."""
    if estimate is None:
        return "-"
    error = estimate.standard_error
    if error is None:
        return shown(estimate.mean)
    if error == 0:
        return f"{estimate.mean:.4g} ± 0"
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{estimate.mean:.{digits}f} ± {error:.{digits}f}" if digits < 8 else f"{estimate.mean:.8g} ± {error:.1e}"


def with_interval(estimate: SeedEstimate | None) -> str:
    """The same with the 95 % interval below it, `[11.9, 12.7]`, to the digits of the mean; none where it is unknown."""
    text = with_error(estimate)
    if estimate is None or estimate.interval is None or not estimate.standard_error:
        return text
    _, _, decimals = text.split(" ")[0].partition(".")
    low, high = (f"{bound:.{len(decimals)}f}" for bound in estimate.interval)
    return f"{text}\n[{low}, {high}]" if "e" not in text else text


def percent_with_error(estimate: SeedEstimate | None) -> str:
    """A share of one in percent, with its error."""
    if estimate is None:
        return "-"
    error = estimate.standard_error
    return percent(estimate.mean) if error is None else f"{100 * estimate.mean:.1f} ± {100 * error:.1f} %"


def coloured(state: str) -> str:
    """A run's state in its colour, as markup."""
    return f"[{_COLOURS.get(state, 'default')}]{state}[/]"


def safe(text: str) -> str:
    """Text from elsewhere, safe as markup and for the terminal."""
    from rich.markup import escape

    return escape(harmless(text))
