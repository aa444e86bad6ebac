"""`prolu share`, `unshare`: edit a sweep together."""

from __future__ import annotations

from typing import Annotated

import typer

from prolu.client.cli import completing
from prolu.client.cli.connecting import connect
from prolu.client.cli.documents import check
from prolu.client.cli.output import note, print_json
from prolu.client.cli.references import find_sweep
from prolu.client.wire import SharingRequest, SweepRead

Reference = Annotated[
    str,
    typer.Argument(metavar="SWEEP", autocompletion=completing.sweep, help="An id, a unique part of one, or `last`."),
]
Names = Annotated[list[str], typer.Argument(metavar="USER...", help="Names of users.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def share(reference: Reference, users: Names, as_json: AsJson = False) -> None:
    """Let users cancel, pause, resume, retry, extend and reorder a sweep of yours; you go on paying for it."""
    check({"users": users}, SharingRequest, "share")
    with connect() as client:
        _tell(client.sweeps.share(find_sweep(client, reference), *users), as_json=as_json)


def unshare(reference: Reference, users: Names, as_json: AsJson = False) -> None:
    """Share a sweep of yours with these users no longer."""
    check({"users": users}, SharingRequest, "unshare")
    with connect() as client:
        _tell(client.sweeps.unshare(find_sweep(client, reference), *users), as_json=as_json)


def _tell(sweep: SweepRead, *, as_json: bool) -> None:
    if as_json:
        print_json(sweep)
    else:
        note(f"sweep {sweep.id} is shared with {', '.join(sweep.editors) or 'nobody'}")
