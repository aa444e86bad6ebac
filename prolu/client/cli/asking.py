"""`prolu results` of any runs: a filter, an order and columns become a table on the terminal, or a file."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from prolu.client.cli.documents import BadInput
from prolu.client.cli.output import note, out, print_json
from prolu.client.cli.places import check_place, writing
from prolu.client.cli.references import find_sweep
from prolu.client.client import Client
from prolu.client.replacing import replacing

_ENDINGS = (".parquet", ".csv", ".json", ".arrow")
# More than anybody reads on a terminal; files have all of them.
_SHOWN = 100


class Asked(NamedTuple):
    """What was typed; None where nothing was."""

    filter: str | None
    order_by: str | None
    fields: str | None
    limit: int | None

    @property
    def is_any(self) -> bool:
        """Whether anything was."""
        return any(part is not None for part in self)

    @property
    def columns(self) -> list[str] | None:
        """The paths to show."""
        return None if self.fields is None else [path.strip() for path in self.fields.split(",")]


def refuse_together(others: Mapping[str, object]) -> None:
    """Refuse what only the table of a sweep has. Raises BadInput."""
    given = [name for name, value in others.items() if value is not None]
    if given:
        raise BadInput(
            f"{given[0]} is for the table of a sweep; leave out --filter, --order-by, --fields, --limit, --csv and --parquet."
        )


def check_places(output: Path | None, parquet: Path | None) -> None:
    """Refuse files that could not be written in the end. Raises BadInput."""
    if output is not None and output.suffix not in _ENDINGS:
        raise BadInput(f"--output must end in {', '.join(_ENDINGS)}; got {str(output)!r}.")
    check_place("--output", output)
    check_place("--parquet", parquet)


def answer(
    client: Client,
    asked: Asked,
    reference: str | None,
    *,
    output: Path | None,
    as_csv: bool,
    parquet: Path | None,
    as_json: bool,
) -> None:
    """Ask, and print or write what comes. Files that the service can write are streamed."""
    text = _within(client, asked.filter or "", reference)
    order = asked.order_by or ""
    for option, path in (("--parquet", parquet), ("--output", output)):
        if path is None:
            continue
        with writing(option, path):
            if option == "--parquet":
                with replacing(path) as beside, beside.open("wb") as file:
                    client.results.write(file, "parquet", text, order_by=order, fields=asked.columns, limit=asked.limit)
            elif path.suffix == ".json":
                client.results.query(text, order_by=order, fields=asked.columns, limit=asked.limit).to_json(path)
            else:
                client.results.download(path, text, order_by=order, fields=asked.columns, limit=asked.limit)
        note(f"the rows are in {path}")
    if as_csv:
        client.results.write(sys.stdout.buffer, "csv", text, order_by=order, fields=asked.columns, limit=asked.limit)
    elif as_json:
        print_json(client.results.query(text, order_by=order, fields=asked.columns, limit=asked.limit).records())
    elif output is None and parquet is None:
        limit = asked.limit or _SHOWN + 1
        found = client.results.query(text, order_by=order, fields=asked.columns, limit=limit)
        out().print(found[: asked.limit or _SHOWN].table())
        if asked.limit is None and len(found) > _SHOWN:
            note(f"only the first {_SHOWN} rows are shown; give --limit, or write all to a file with --parquet")


def _within(client: Client, text: str, reference: str | None) -> str:
    """The filter, and the sweep if one was named. The filter has a line of its own, so that columns in it stay what they are."""
    if reference is None:
        return text
    sweep = f'sweep_id = "{find_sweep(client, reference)}" AND superseded = false'
    return f"(\n{text}\n) AND {sweep}" if text.strip() else sweep
