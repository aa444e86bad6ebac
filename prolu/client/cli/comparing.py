"""`prolu compare`: where runs differ, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from prolu.client.cli import completing
from prolu.client.cli.connecting import connect
from prolu.client.cli.documents import BadInput
from prolu.client.cli.frontiers import AsJson
from prolu.client.cli.output import number, out, print_json, short, state, table, user_text
from prolu.client.cli.references import find
from prolu.client.client import Client
from prolu.client.histograms import sparkline
from prolu.client.wire import ComparisonRead


def compare(
    references: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN RUN...", autocompletion=completing.run, help="Two to ten runs, by id or a unique part of one."
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Compare runs with the first of them: where their specs differ, their metrics with differences, and their biases."""
    if not 2 <= len(references) <= 10:
        raise BadInput(f"Two to ten runs are compared; got {len(references)}.")
    with connect() as client:
        found = client.runs.compare(*(_run(client, reference) for reference in references))
    print_json(found) if as_json else _print(found)


def _run(client: Client, reference: str) -> str:
    kind, found = find(client, reference)
    if kind != "run":
        raise BadInput(f"{reference} is a sweep; name runs, which `prolu show {reference}` lists.")
    return str(found)


def _print(found: ComparisonRead) -> None:
    columns = {"": "left", **{short(run.id): "right" for run in found.runs}}
    rows: list[Sequence[str]] = [
        ["name", *(user_text(run.name) for run in found.runs)],
        ["owner", *(user_text(run.owner) for run in found.runs)],
        ["state", *(state(run.state) for run in found.runs)],
    ]
    rows += [[user_text(one.path), *map(_value, one.values)] for one in found.spec]
    for one in found.numbers:
        cells = [number(value) for value in one.values]
        for place in range(1, len(cells)):
            difference = one.differences[place]
            cells[place] += "" if difference is None else f" ({difference:+.3g})"
        rows.append([user_text(one.path), *cells])
    if found.edges:
        label = f"biases from {found.edges[0]:.3g} to {found.edges[-1]:.3g}"
        rows.append([label, *("-" if one is None else sparkline(one.shares) for one in found.biases)])
    out().print(table(columns, rows))


def _value(value: Any) -> str:
    return "-" if value is None else user_text(value if isinstance(value, str) else json.dumps(value))
