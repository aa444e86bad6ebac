"""`prolu audit`: who changed what."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from prolu.client.cli.connecting import connect
from prolu.client.cli.documents import BadInput
from prolu.client.cli.durations import seconds_of
from prolu.client.cli.output import out, print_json, short, table, user_text
from prolu.client.wire import AuditRead


def audit(
    user: Annotated[str | None, typer.Option(help="Only what this user changed; for administrators.")] = None,
    action: Annotated[str | None, typer.Option(help="Only of this operation, such as cancel_run.")] = None,
    target: Annotated[str | None, typer.Option(help="Only of the run, sweep, user or token of this whole id.")] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="From then on: how long ago, such as 12h or 7d, or 2026-01-31T08:00Z."),
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Before then; written as --since.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show who changed what, the newest first: your changes, or as an administrator everybody's."""
    first, last = _moment("--since", since), _moment("--until", until)
    with connect() as client:
        found = client.audit.list(user=user, action=action, target=target, since=first, until=last, limit=limit)
    if as_json:
        print_json(found)
        return
    columns = {"at (UTC)": "left", "user": "left", "action": "left", "of": "left", "change": "left"}
    out().print(table(columns, map(_cells, found), yields="change"))


def _moment(option: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        seconds = seconds_of(option, text)
        return None if seconds is None else datetime.now(UTC) - timedelta(seconds=min(seconds, 1e9))
    if moment.tzinfo is None:
        raise BadInput(f"{option} must say its time zone, such as {text}Z; got {text[:80]!r}.")
    return moment


def _cells(entry: AuditRead) -> tuple[str, ...]:
    of = user_text(entry.target_id) if entry.target_kind == "node" else short(entry.target_id)
    return (
        f"{entry.at:%Y-%m-%d %H:%M:%S}",
        user_text(entry.user or "(the service)"),
        user_text(entry.action),
        f"{entry.target_kind} {of}",
        user_text(_change(entry)),
    )


def _change(entry: AuditRead) -> str:
    before, after = entry.before or {}, entry.after or {}
    return ", ".join(
        f"{name}: {_said(before[name])} -> {_said(after.get(name))}"
        if name in before
        else f"{name}: {_said(after[name])}"
        for name in {**before, **after}
    )


def _said(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
