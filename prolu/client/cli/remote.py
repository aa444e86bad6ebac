"""Work on a checkpoint that the service has done, instead of this machine: `--remote`. Needs no torch here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from prolu.client.cli.connecting import connect
from prolu.client.cli.documents import BadInput
from prolu.client.cli.keeping import find_checkpoint
from prolu.client.cli.output import note
from prolu.client.client import Client
from prolu.client.wire import CheckpointRead, ChoreRead

Remote = Annotated[
    bool, typer.Option("--remote", help="Have the service do it, on its cluster, instead of this machine.")
]


@contextmanager
def remote_checkpoint(reference: str, step: int | None) -> Iterator[tuple[Client, CheckpointRead]]:
    """Give the service and the checkpoint that is meant. Raises BadInput for a folder, which the service does not see."""
    if "://" in reference or Path(reference).is_dir():
        raise BadInput(
            f"--remote takes a checkpoint of the service, and {reference!r} is a folder; leave --remote out."
        )
    with connect() as client:
        yield client, find_checkpoint(client, reference, step)


def telling() -> Callable[[ChoreRead], None]:
    """Hears of a chore while one waits, and says each new reason once."""
    told: set[str] = set()

    def tell(chore: ChoreRead) -> None:
        if chore.message and chore.message not in told:
            told.add(chore.message)
            note(chore.message)

    return tell
