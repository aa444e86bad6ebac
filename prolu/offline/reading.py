"""Open the held-out data that a checkpoint is measured on: its run's own, or what a spec in a file describes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import platformdirs
import typer
from jaxtyping import Float
from torch import Tensor

from prolu.data.opening import open_source
from prolu.data.places import DataError, Places
from prolu.data.source import ActivationSource, SplicedModel
from prolu.models.normalisation import Normaliser
from prolu.offline.checkpoints import Opened
from prolu.spec.base import Spec
from prolu.spec.data import DataSpec
from prolu.spec.document import parse, validate
from prolu.spec.report import Progress
from prolu.spec.urls import is_url, parse_url, split_roots

DataFile = Annotated[
    Path | None,
    typer.Option(
        "--data", metavar="FILE", help="YAML or JSON: a data spec, or a run that has one. Default: the run's own."
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        envvar="PROLU_DATA_DIR",
        help="The service's folder, whose cache of models and activations is used. Default: the user's own.",
    ),
]
DataRoots = Annotated[
    list[str] | None,
    typer.Option(
        "--data-root",
        metavar="PLACE",
        help="Folder, or URL of an object store, below which the data lie; may be repeated. "
        "Default: those of PROLU_DATA_ROOTS, or else DIR/data.",
    ),
]
Hub = Annotated[bool, typer.Option("--hub/--no-hub", help="Whether models and texts may be downloaded from the hub.")]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Activations at once.")]


class _DataDocument(Spec):
    data: DataSpec
    """The part of a document that is wanted."""


@dataclass(frozen=True)
class Normalised:
    """A source of raw activations, given out as one checkpoint reads them."""

    raw: ActivationSource
    normaliser: Normaliser

    @property
    def d_in(self) -> int:
        """Width of one activation."""
        return self.raw.d_in

    @property
    def identity(self) -> str:
        """What the raw activations are."""
        return self.raw.identity

    @property
    def dictionary(self) -> Float[Tensor, "n_features d_in"] | None:
        """The ground-truth features, where they are known; their directions are the same in every scale."""
        return self.raw.dictionary

    @property
    def spliced(self) -> SplicedModel | None:
        """The language model, where there is one: it reads and writes raw activations."""
        return self.raw.spliced

    def batch(self, step: int, batch_size: int) -> Float[Tensor, "batch d_in"]:
        """Return the training batch of `step`."""
        return self.normaliser.normalise(self.raw.batch(step, batch_size))

    def evaluation(self, batch_size: int) -> Iterator[Float[Tensor, "batch d_in"]]:
        """Yield the held-out activations in order."""
        for x in self.raw.evaluation(batch_size):
            yield self.normaliser.normalise(x)


def open_data(
    opened: Opened, file: Path | None, *, data_dir: Path | None, roots: list[str] | None, hub: bool
) -> Normalised:
    """Return the activations that `file` describes, by default those of the checkpoint's run, normalised as in its training.

    The run's own spec is read as the service reads it: below `roots`, by default those of PROLU_DATA_ROOTS, and nowhere else,
    lest a folder that happens to have the same name here is measured instead. The paths in `file` are the caller's: relative
    to the current folder first, or absolute, anywhere, since nobody but the caller's own operating system guards these files.
    What `file` says of normalisation does not count, since the checkpoint has learned one.

    Raises DataError if the data cannot be had or is of another width, SpecError for a spec with mistakes.
    """
    spec = _read_spec(opened, file).model_copy(update={"normalisation": "none"})
    home = (data_dir or platformdirs.user_data_path("prolu")).expanduser().absolute()
    named = _data_roots(roots, home)
    places = Places.of(home / "cache", named if file is None else [str(Path.cwd()), *named, "/"], hub_online=hub)
    raw = open_source(spec, places=places, notify=_Teller().tell, should_stop=lambda: False)
    if raw.d_in != opened.sae.d_in:
        raise DataError(
            f"The activations are {raw.d_in} wide, the autoencoder in {opened.path} reads {opened.sae.d_in}; "
            "name the data that it was trained on with --data."
        )
    return Normalised(raw, opened.normaliser)


def _read_spec(opened: Opened, file: Path | None) -> DataSpec:
    if file is None:
        if opened.config is None:
            raise DataError(f"{opened.path} does not say what it was trained on; name the data with --data.")
        return opened.config.spec.data
    try:
        document = parse(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"--data {file} cannot be read ({error}); name a YAML or JSON file.") from error
    of_a_run = isinstance(document, dict) and "data" in document
    return validate({"data": document["data"] if of_a_run else document}, _DataDocument).data


def _data_roots(roots: list[str] | None, home: Path) -> list[str]:
    """Return the roots that are named, else the operator's, folders made absolute."""
    try:
        if roots:
            read = [parse_url(root) if is_url(root) else Path(root) for root in roots]
        else:
            read = split_roots(os.environ.get("PROLU_DATA_ROOTS", "")) or [home / "data"]
    except ValueError as error:
        if roots:
            raise DataError(f"--data-root is {error}.") from None
        raise DataError(f"The setting PROLU_DATA_ROOTS is wrong: {error}; correct it.") from None
    return [str(root.expanduser().absolute() if isinstance(root, Path) else root) for root in read]


class _Teller:
    """Says on standard error what is being prepared, once for each phase: it may take minutes."""

    def __init__(self) -> None:
        self._phase = "preparing"

    def tell(self, progress: Progress) -> None:
        if progress.phase != self._phase:
            self._phase = progress.phase
            typer.echo(f"{progress.phase.replace('_', ' ')}: {progress.total:,} tokens", err=True)
