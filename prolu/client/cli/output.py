"""How the command speaks: results to standard output, everything else to standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from prolu.client.harmless import harmless

_WIDTH_WITHOUT_TERMINAL = 200
# Between two columns, and what is left of one that yields to the others.
_GAP, _LEAST = 2, 8
COLOURS = {
    "succeeded": "green",
    "failed": "red",
    "cancelled": "yellow",
    "running": "cyan",
    "starting": "cyan",
    "stopping": "cyan",
}


def out() -> Console:
    """Standard output; wide enough for tables where it is no terminal."""
    return Console(width=None if sys.stdout.isatty() else _WIDTH_WITHOUT_TERMINAL, highlight=False)


def note(line: str) -> None:
    """One line for people, on standard error; what would steer the terminal is escaped."""
    print(harmless(line), file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """A model, a list of models or plain data as JSON on standard output."""
    print(json.dumps(_plain(value), indent=2))


def print_json_line(value: Any) -> None:
    """One JSON value on one line, at once."""
    print(json.dumps(_plain(value)), flush=True)


def short(identity: object) -> str:
    """The last eight digits of an id: those that differ between things submitted together."""
    return str(identity)[-8:]


def state(name: str) -> str:
    """A run's state in its colour, as markup."""
    return f"[{COLOURS.get(name, 'default')}]{name}[/]"


def ago(moment: datetime | None) -> str:
    """How long ago something was, in the largest fitting unit."""
    if moment is None:
        return "-"
    return f"{span(max(0.0, (datetime.now(UTC) - moment).total_seconds()))} ago"


def span(seconds: float) -> str:
    """A time in the largest fitting unit."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def size(count: int) -> str:
    """A number of bytes for people."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def table(
    columns: Mapping[str, str], rows: Iterable[Sequence[str]], title: str | None = None, *, yields: str | None = None
) -> Table:
    """A plain table; `columns` gives the justification of each column. Cells are markup: escape what users named.

    Where the terminal is too narrow, the column `yields` is cut and no other; without one all are.
    """
    made = Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=None, pad_edge=False)
    rows = list(rows)
    widths = {
        name: max([cell_len(name), *(Text.from_markup(row[index]).cell_len for row in rows)])
        for index, name in enumerate(columns)
    }
    if yields is not None:
        others = sum(width + _GAP for name, width in widths.items() if name != yields)
        widths[yields] = min(widths[yields], max(_LEAST, out().width - others))
    for name, justify in columns.items():
        width = None if yields is None else widths[name]
        made.add_column(name, justify="right" if justify == "right" else "left", no_wrap=True, width=width)
    for row in rows:
        made.add_row(*row)
    return made


def user_text(text: str | None) -> str:
    """Text from elsewhere, safe as markup and for the terminal."""
    return escape(harmless(text or ""))


def number(value: float | None, digits: int = 4) -> str:
    """A number with so many significant digits; a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}g}"


def percent(fraction: float | None) -> str:
    """A share of one in percent."""
    return "-" if fraction is None else f"{100 * fraction:.1f} %"


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value
