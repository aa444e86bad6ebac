"""Work on the files of a checkpoint: brought here if they are not, and done by a child process, since it needs torch."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from prolu.client.cli import completing
from prolu.client.cli.connecting import connect
from prolu.client.cli.documents import BadInput
from prolu.client.cli.keeping import fetch, find_checkpoint
from prolu.client.cli.output import short

Reference = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        autocompletion=completing.run,
        help="Run, checkpoint, or the folder of one: an id, a unique part of a run's, or `last`.",
    ),
]
Step = Annotated[int | None, typer.Option(help="Step of the run's checkpoint; by default the last one.")]
DataFile = Annotated[
    Path | None,
    typer.Option(
        "--data", metavar="FILE", help="Held-out data: a spec of data, or of a run. By default the run's own."
    ),
]
DataRoots = Annotated[
    list[str] | None,
    typer.Option(
        "--data-root",
        metavar="PLACE",
        help="Folder, or URL of an object store, below which the data lie; may be repeated. "
        "By default those of PROLU_DATA_ROOTS, or else the service's folder `data` here.",
    ),
]
Hub = Annotated[bool, typer.Option("--hub/--no-hub", help="Whether models and texts may be downloaded from the hub.")]


@dataclass(frozen=True)
class Located:
    """A checkpoint whose files can be read."""

    folder: str
    """A path, or the URL of a folder in an object store."""
    name: str
    """What files that are made of it are called."""
    title: str
    """What people call it."""


def require_torch(doing: str, *, remote: bool = False) -> None:
    """Refuse early what would fail after a long download; `remote` says that the service can do it. Raises BadInput."""
    if importlib.util.find_spec("torch") is None:
        instead = ", or have the service do it with --remote" if remote else ""
        raise BadInput(f"{doing} needs torch, which is not installed here; install prolu[train]{instead}.")


@contextmanager
def located(reference: str, step: int | None) -> Iterator[Located]:
    """Give a folder as it is, or download the checkpoint of the service for as long as it is needed. Raises BadInput."""
    if "://" in reference or Path(reference).is_dir():
        if step is not None:
            raise BadInput(
                f"--step chooses among the checkpoints of a run, and {reference!r} is a folder; leave it out."
            )
        name = reference.rstrip("/").rpartition("/")[2] if "://" in reference else Path(reference).resolve().name
        yield Located(reference, name, reference)
        return
    with tempfile.TemporaryDirectory(prefix="prolu-") as scratch:
        folder = Path(scratch, "checkpoint")
        with connect() as client:
            checkpoint = find_checkpoint(client, reference, step)
            fetch(client, checkpoint, folder, None)
        run = short(checkpoint.run_id)
        yield Located(str(folder), f"prolu-{run}-step-{checkpoint.step}", f"run {run} at step {checkpoint.step:,}")


def do(work: Sequence[str]) -> None:
    """Have `python -m prolu.offline` do it, in its own words. Raises typer.Exit with its status if it fails."""
    _run(work, captured=False)


def ask(work: Sequence[str]) -> str:
    """Have it done, and give what it prints. Raises typer.Exit with its status if it fails."""
    return _run(work, captured=True)


def data_options(data: Path | None, roots: Sequence[str] | None, *, hub: bool) -> list[str]:
    """The options that say which held-out data are meant, and where they lie."""
    below = [f"--data-root={root}" for root in roots or ()]
    return [*(["--data", str(data)] if data is not None else []), *below, "--hub" if hub else "--no-hub"]


def _run(work: Sequence[str], *, captured: bool) -> str:
    ran = subprocess.run(  # noqa: S603 - our own words, and no shell
        [sys.executable, "-m", "prolu.offline", *work],
        stdout=subprocess.PIPE if captured else None,
        text=True,
        check=False,
    )
    if ran.returncode:
        raise typer.Exit(ran.returncode)
    return ran.stdout if captured else ""
